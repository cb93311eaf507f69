"""What each plant asks for in the demo: one batch that is taken, the same names again, and one with a mistake in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from adapters.modbus.simulator import ModbusSite, Result, payload_of
from gateway.core.mailbox import Role, state_code
from gateway.core.mapping import MailboxTrigger, MessageSpec, Slot
from gateway.core.point import PointSpec, Value
from gateway.core.reference_data import GSP_GROUP_BY_DISTRIBUTOR, mpan_check_digit
from gateway.core.transaction import State
from gateway.settings.configuration import SiteConfig


class Act(StrEnum):
    """One request of the story, named for what the plant is up to."""

    NEW = "a new asset"
    AGAIN = "the same name again"
    TYPO = "a mistyped MPAN"


EXPECTED: Mapping[Act, State] = {Act.NEW: State.COMPLETED, Act.AGAIN: State.FAILED, Act.TYPO: State.REFUSED}


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


class Storyteller:
    """Raises the requests of one plant and waits for what it reads back."""

    def __init__(self, site: SiteConfig, plant: ModbusSite) -> None:
        self._site = site
        self._plant = plant
        self._spec, self._kind = next(
            (spec, spec.trigger.kind) for spec in site.messages.values() if isinstance(spec.trigger, MailboxTrigger)
        )
        (self._box,) = site.mailboxes.values()
        self._name = ""

    async def tell(self, act: Act) -> Told:
        """Raise one request and return its result as the plant sees it."""
        if act is not Act.AGAIN:
            self._name = f"{self._site.site.upper()} {self._plant.role(Role.REQUEST_SEQ) + 1}"
        connection = self._site.connections[self._box.connection].config
        payload = payload_of(connection, self._box, dict(self._values(act)))
        sequence = await self._plant.request(self._kind, payload)
        result = await self._plant.result(sequence)
        return Told(site=self._site.site, act=act, sequence=sequence, result=result)

    def _values(self, act: Act) -> Iterator[tuple[str, Value]]:
        """A value for each point that the message's template names."""
        for path, slot in _slots(self._spec):
            if path.endswith("assetName"):
                yield slot.point, self._name
            elif path.endswith("id"):
                yield slot.point, mpan(self._spec, valid=act is not Act.TYPO)
            else:
                yield slot.point, _middle(self._site.points[slot.point])


def mpan(spec: MessageSpec, *, valid: bool) -> str:
    """A made-up MPAN of the GSP group that the message's template names, or one with a wrong check digit."""
    group = next(value for path, value in _leaves(spec.template, "") if path.endswith("gspGroup"))
    distributor = next(number for number, name in GSP_GROUP_BY_DISTRIBUTOR.items() if name == group)
    digit = mpan_check_digit(f"{distributor}0000000000")
    return f"{distributor}0000000000{digit if valid else (digit + 1) % 10}"


def _middle(spec: PointSpec) -> Decimal:
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
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{path}[{index}]")
    else:
        yield path, node
