"""What a simulated plant asks for: one batch that is taken, the same names again, and one with a mistake in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from adapters.modbus.simulator import BoundModbusSite, ModbusScada, ModbusSite, payload_of, put_beside, show
from gateway.core.mailbox import Role, state_code
from gateway.core.mapping import MailboxTrigger, MessageSpec
from gateway.core.places import Formula, Repeated, Slot
from gateway.core.point import Access, PointSpec, Value
from gateway.core.reference_data import GSP_GROUP_BY_DISTRIBUTOR, mpan_check_digit
from gateway.core.transaction import State
from gateway.settings.configuration import SiteConfig

if TYPE_CHECKING:  # asyncua takes a second to import, which the PLC of a Modbus site need not cost
    from adapters.modbus import simulator as modbus_simulator
    from adapters.opcua import simulator as opcua_simulator
    from adapters.opcua.simulator import OpcuaSite


Plant: TypeAlias = "ModbusSite | BoundModbusSite | ModbusScada | OpcuaSite"
Result: TypeAlias = "modbus_simulator.Result | opcua_simulator.Result"


class Act(StrEnum):
    """One request of the story, named for what the plant is up to."""

    NEW = "a new asset"
    AGAIN = "the same name again"
    TYPO = "a mistyped MPAN"


EXPECTED: Mapping[Act, State] = {Act.NEW: State.COMPLETED, Act.AGAIN: State.FAILED, Act.TYPO: State.REFUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the plant raised it; ``name`` is the asset's, where the message takes it from the plant."""

    site: str
    act: Act | None
    sequence: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the plant read back in its own registers for one request."""

    site: str
    act: Act
    sequence: int
    result: Result

    @property
    def as_expected(self) -> bool:
        """Whether the plant was told the end that this act must have."""
        return self.result.state == state_code(EXPECTED[self.act])


class Teller(Protocol):
    """Whoever raises a site's requests and waits for what comes back."""

    async def tell(self, act: Act) -> Told:
        """Raise one request and return its result as the site sees it."""


async def ask(plant: Plant, site: SiteConfig, kind: int, values: Mapping[str, Value]) -> int:
    """Raise a request with these values of points, laid out as the plant's protocol has it; returns its sequence.

    Raises:
        ValueError: a value that its registers or nodes cannot hold.
    """
    connection = site.connections[plant.mailbox.connection].config
    here = {name: value for name, value in values.items() if name in connection.points}
    if isinstance(plant, ModbusScada):
        plant.put_beside(here)
    elif isinstance(plant, ModbusSite):
        put_beside(plant, connection, here)
    else:
        return await plant.request(kind, here)
    return await plant.request(kind, payload_of(connection, plant.mailbox, here))


class Storyteller:
    """Raises the requests of one plant and waits for what it reads back.

    Raises:
        ValueError: the site has no message that a mailbox sets off.
    """

    def __init__(self, site: SiteConfig, plant: Plant) -> None:
        bound = [spec for spec in site.messages.values() if isinstance(spec.trigger, MailboxTrigger)]
        if not bound or not isinstance(bound[0].trigger, MailboxTrigger):
            raise ValueError(f"{site.site} has no message that a mailbox sets off")
        self._site = site
        self._plant = plant
        self._spec, self._kind = bound[0], bound[0].trigger.kind
        self._box = site.mailboxes[bound[0].trigger.mailbox]
        self._name = ""
        self._taken = ""  # the last name that the SMP was asked for without a mistake

    async def tell(self, act: Act) -> Told:
        """Raise one request and return its result as the plant sees it."""
        asked = await self.ask(act)
        result = await self._plant.result(asked.sequence)
        return Told(site=self._site.site, act=act, sequence=asked.sequence, result=result)

    async def ask(self, act: Act) -> Asked:
        """Raise one request as soon as the one before it is acknowledged; AGAIN before any NEW is a NEW."""
        if act is Act.AGAIN and not self._taken:
            act = Act.NEW
        self._name = self._taken if act is Act.AGAIN else self._fresh_name()
        if act is Act.NEW:
            self._taken = self._name
        return await self._raise(act, dict(self._values(act)))

    async def ask_for(self, values: Mapping[str, Value]) -> Asked:
        """Raise one request with these points' values, and made-up ones for the others.

        Raises:
            ValueError: no such point, or a value that its registers cannot hold.
        """
        unknown = ", ".join(sorted(values.keys() - self._site.points.keys()))
        if unknown:
            raise ValueError(f"{self._site.site} has no point {unknown}")
        self._name = self._fresh_name()
        made_up = dict(self._values(Act.NEW))
        named = (slot.point for path, slot in _slots(self._spec) if path.endswith("assetName"))
        self._name = next((str(values[point]) for point in named if point in values), self._name)
        return await self._raise(None, made_up | dict(values))

    async def show(self, values: Mapping[str, Value]) -> None:
        """Change these points as the plant's program would, and ask for nothing.

        Raises:
            ValueError: no such point, or a value that it cannot hold.
        """
        for name, value in values.items():
            spec = self._site.points.get(name)
            if spec is None or spec.access is not Access.READ:
                raise ValueError(f"{self._site.site} has no point {name} that the plant sets")
            connection = self._site.connections[spec.connection].config
            if isinstance(self._plant, ModbusScada):
                self._plant.put(name, value)
            elif isinstance(self._plant, ModbusSite | BoundModbusSite):
                show(self._plant, connection, name, value)
            else:
                await self._plant.set_value(name, value)

    async def _raise(self, act: Act | None, values: Mapping[str, Value]) -> Asked:
        sequence = await ask(self._plant, self._site, self._kind, values)
        return Asked(site=self._site.site, act=act, sequence=sequence, name=self._name)

    def _fresh_name(self) -> str:
        return f"{self._site.site.upper()} {self._plant.role(Role.REQUEST_SEQ) + 1}"

    def _values(self, act: Act) -> Iterator[tuple[str, Value]]:
        """A value for each point that the message's template names; every element of an array counts."""
        for array in self._site.arrays.values():
            if array.used is not None:
                yield array.used, Decimal(array.count)
        named = 0
        for path, slot in _slots(self._spec):
            if path.endswith("assetName"):
                named += 1
                yield slot.point, self._name if named == 1 else f"{self._name}/{named}"
            elif path.endswith("id"):
                yield slot.point, mpan(self._spec.template, valid=act is not Act.TYPO)
            else:
                yield slot.point, _middle(self._site.points[slot.point])


def mpan(template: Mapping[str, object], *, valid: bool) -> str:
    """A made-up MPAN of the GSP group that a template names, or one with a wrong check digit."""
    group = next(value for path, value in _leaves(template, "") if path.endswith("gspGroup"))
    distributor = next(number for number, name in GSP_GROUP_BY_DISTRIBUTOR.items() if name == group)
    digit = mpan_check_digit(f"{distributor}0000000000")
    return f"{distributor}0000000000{digit if valid else (digit + 1) % 10}"


def _middle(spec: PointSpec) -> Value:
    if spec.enum:
        return next(iter(spec.enum.values()))
    low = spec.minimum if spec.minimum is not None else Decimal(0)
    high = spec.maximum if spec.maximum is not None else low + 10
    return ((max(low, Decimal(0)) + high) / 2).quantize(Decimal(1))


def _slots(spec: MessageSpec) -> Iterator[tuple[str, Slot]]:
    for path, leaf in _leaves(spec.template, ""):
        if isinstance(leaf, Slot):
            yield path, leaf


def _leaves(node: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(node, list | Repeated):
        for index, value in enumerate(node if isinstance(node, list) else node.assets):
            yield from _leaves(value, f"{path}[{index}]")
    elif isinstance(node, Formula):
        yield from ((path, Slot(point=point)) for point in node.readings)
    else:
        yield path, node
