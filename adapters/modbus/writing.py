"""Writes, each read back: what may be written, in which requests, and what follows when it did not take.

Rules
-----
* Only points with ``access: write`` and the gateway's own block of a declared mailbox; everything else is refused.
* Values are refused, never clamped. Comparison is in raw registers.
* Neighbouring roles of one mailbox share a request; RESULT_SEQ and then PAGE go alone and last, since they make the
  rest valid. A PAGE of 0, which makes it invalid, goes first.
* Writes go ahead of polls: nothing is read between a write and its reading back.
* A value with a scale factor is laid out by the factor as the device has it at that moment.
* One retry, then the write is refused for good. An answer that means "not now" ends the session instead: the runtime
  comes back later and writes the same again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from adapters.modbus.addresses import Table
from adapters.modbus.config import REGISTERS_PER_READ
from adapters.modbus.line import DeviceRefusal, Wire
from adapters.modbus.translation import Point, fitted, read_scale_factor, write_point
from gateway.core.binding import role_point
from gateway.core.mailbox import (
    SEQUENCES,
    SMP_ID_REGISTERS,
    TEXT_REGISTERS,
    MailboxSpec,
    Role,
    text_registers,
)
from gateway.core.point import Access
from gateway.errors import LinkLost, PointRejected
from gateway.ports import PointCall, PointWrite, RoleWrite, Write

DEVICE_TABLES = (Table.HOLDING, Table.COIL)  # what a master may write
_ATTEMPTS = 2
MARKS = (Role.RESULT_SEQ, Role.PAGE)  # they make valid what lies beside them
_TEXTS = {Role.TEXT: TEXT_REGISTERS, Role.SMP_ID: SMP_ID_REGISTERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring registers, or one coil, written by one request."""

    table: Table
    address: int
    cells: tuple[int, ...]

    @property
    def window(self) -> range:
        """The addresses written."""
        return range(self.address, self.address + len(self.cells))


class Writer:
    """Writes over one line."""

    def __init__(
        self,
        line: Wire,
        points: Mapping[str, Point],
        mailboxes: Mapping[str, MailboxSpec],
        tables: Collection[Table] = DEVICE_TABLES,
    ) -> None:
        self._line = line
        self._points = points
        self._mailboxes = mailboxes
        self._tables = tables
        self._beats: dict[str, RoleWrite] = {}  # the heartbeat that each mailbox was given last

    async def write(self, steps: Sequence[Write]) -> None:
        """Make the steps in order, a row of roles of one mailbox as one step.

        Raises:
            LinkLost: the outcome is unknown.
            PointRejected: a step is not allowed, or did not take; later ones were not made.
        """
        with self._line.ahead():
            for mailbox, group in groupby(steps, key=self._blocks_of):
                if mailbox is not None:
                    roles = self._bridged(mailbox, [step for step in group if isinstance(step, RoleWrite)])
                    await self._deliver(mailbox, role_runs(mailbox, self._mailboxes.get(mailbox), roles))
                    continue
                for step in group:
                    await self._one(step)

    def _blocks_of(self, step: Write) -> str | None:
        """The mailbox in blocks of registers that a step belongs to."""
        if not isinstance(step, RoleWrite):
            return None
        spec = self._mailboxes.get(step.mailbox)
        return None if spec is not None and spec.bound else step.mailbox

    async def _one(self, step: Write) -> None:
        """Write a point, or a role that is one."""
        if isinstance(step, PointCall):
            raise PointRejected(step.point, "Modbus has no methods")
        if isinstance(step, RoleWrite):
            try:
                name, value = role_point(self._mailboxes[step.mailbox], step.role, step.value)
            except ValueError as error:
                raise PointRejected(f"{step.mailbox}.{step.role}", str(error)) from error
            step = PointWrite(point=name, value=value, fit=True)
        if isinstance(step, PointWrite):
            point = self._points.get(step.point)
            await self._deliver(step.point, [point_run(point, step, await self._factor(point), self._tables)])

    async def _factor(self, point: Point | None) -> int:
        """The scale factor of a point as it is now; 0 without one.

        Raises:
            PointRejected: there is none to be had.
        """
        if point is None or point.place.scale_factor is None:
            return 0
        place = point.place.scale_factor
        try:
            (register,), _ = await self._line.read(place.table, range(place.register, place.register + 1), ahead=True)
        except DeviceRefusal as refusal:
            raise PointRejected(point.spec.name, f"its scale factor {place} cannot be read: {refusal}") from refusal
        factor = read_scale_factor(point, register)
        if factor is None:
            raise PointRejected(point.spec.name, f"{place} holds no scale factor in -10..10")
        return factor

    def _bridged(self, mailbox: str, steps: list[RoleWrite]) -> list[RoleWrite]:
        """Add the heartbeat as it stands where it lies between what is written, so that one request carries it all."""
        roles = {step.role: step for step in steps}
        if Role.HEARTBEAT in roles:
            self._beats[mailbox] = roles[Role.HEARTBEAT]
        elif mailbox in self._beats and {Role.ERROR_COUNT, Role.TEXT} <= roles.keys():
            return [*steps, self._beats[mailbox]]
        return steps

    async def _deliver(self, name: str, runs: Sequence[Run]) -> None:
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                for run in runs:
                    await self._line.write(run.table, run.address, run.cells)
                reason = await self._difference(runs)
            except DeviceRefusal as refusal:
                if refusal.transient:
                    raise LinkLost(f"{name}: {refusal}") from refusal
                reason = str(refusal)
            if not reason:
                return
        raise PointRejected(name, reason)

    async def _difference(self, runs: Sequence[Run]) -> str:
        """Read everything back in as few requests as it takes; empty when it is what was written last."""
        for window, parts in _spans(list({run.window: run for run in runs}.values())):
            cells, _ = await self._line.read(parts[0].table, window, ahead=True)
            for run in parts:
                first = run.address - window.start
                found = [int(cell) for cell in cells[first : first + len(run.cells)]]
                if found != list(run.cells):
                    return f"{run.table}:{run.address} holds {found} after {list(run.cells)} was written"
        return ""


def point_run(point: Point | None, step: PointWrite, factor: int = 0, tables: Collection[Table] = DEVICE_TABLES) -> Run:
    """The request that writes one point; ``factor`` is its scale factor now, and ``tables`` are those to write in.

    Raises:
        PointRejected: no such point, not for writing, or not a value that it can hold.
    """
    if point is None:
        raise PointRejected(step.point, "is not a point of this connection")
    if point.spec.access is not Access.WRITE:
        raise PointRejected(step.point, "is not declared with access: write")
    if point.table not in tables:
        raise PointRejected(step.point, f"{point.place.address} cannot be written: Modbus only reads {point.table}")
    try:
        cells = write_point(point, fitted(point, step.value) if step.fit else step.value, factor)
    except ValueError as error:
        raise PointRejected(step.point, str(error)) from error
    return Run(table=point.table, address=point.place.address.register, cells=tuple(cells))


def role_runs(mailbox: str, spec: MailboxSpec | None, steps: Iterable[RoleWrite]) -> list[Run]:
    """The requests that write roles of one mailbox, MARKS alone and last, a PAGE of 0 alone and first.

    Raises:
        PointRejected: no such mailbox, a role that is the site's to write, or a value that it cannot hold.
    """
    if spec is None:
        raise PointRejected(mailbox, "is not a mailbox of this connection")
    cells: dict[int, int] = {}
    first: list[Run] = []
    marks: dict[Role, Run] = {}
    for step in steps:
        address = spec.place(step.role)
        if address is None:
            raise PointRejected(f"{mailbox}.{step.role}", "is the site's to write")
        values = _role_cells(mailbox, step, 2 * spec.detail)
        run = Run(table=Table.HOLDING, address=address, cells=tuple(values))
        if step.role is Role.PAGE and not step.value:
            first = [run]
        elif step.role in MARKS:
            marks[step.role] = run
        else:
            cells.update(enumerate(values, start=address))
    return [*first, *_join(cells), *(marks[role] for role in MARKS if role in marks)]


def _role_cells(mailbox: str, step: RoleWrite, detail: int) -> list[int]:
    """The registers of one role; ``detail`` is how many those of DETAIL are.

    Raises:
        PointRejected: they cannot hold it.
    """
    name = f"{mailbox}.{step.role}"
    if step.role in _TEXTS:
        try:
            return text_registers(str(step.value), _TEXTS[step.role])
        except ValueError as error:
            raise PointRejected(name, str(error)) from error
    if step.role is Role.DETAIL and isinstance(step.value, tuple):
        if len(step.value) != detail or not all(0 <= number < SEQUENCES for number in step.value):
            raise PointRejected(name, f"takes {detail} numbers of 0..{SEQUENCES - 1}")
        return list(step.value)
    if not isinstance(step.value, int) or not 0 <= step.value < SEQUENCES:
        raise PointRejected(name, f"{step.value!r} is outside 0..{SEQUENCES - 1}")
    return [step.value]


def _join(cells: Mapping[int, int]) -> Iterator[Run]:
    """Rows of neighbouring registers, each as one request."""
    ordered = sorted(cells)
    for _, row in groupby(enumerate(ordered), key=lambda item: item[1] - item[0]):
        addresses = [address for _, address in row]
        yield Run(table=Table.HOLDING, address=addresses[0], cells=tuple(cells[address] for address in addresses))


def _spans(runs: Sequence[Run]) -> list[tuple[range, Sequence[Run]]]:
    """The reads that show all runs again: one, if they lie within what one answer carries."""
    window = range(min(run.window.start for run in runs), max(run.window.stop for run in runs))
    if len(window) <= REGISTERS_PER_READ:
        return [(window, runs)]
    return [(run.window, [run]) for run in runs]
