"""A plant that asks under ids of its own, over a link that breaks: what it sent, saw acknowledged, and was told."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from gateway.core import strict_json
from gateway.core.transaction import TERMINAL
from gateway.errors import LinkLost
from gateway.ports import (
    Busy,
    Committed,
    PointWrite,
    Reachable,
    Receipt,
    Refused,
    ResultWrite,
    Session,
    Submitted,
    Write,
)
from tests.flow.virtual import VirtualClock

MESSAGE = "chargers"
HOP_S = 0.02  # at most, between the plant and us


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One message of a plant: the ``name`` of the asset that it asks for, under the id ``key``."""

    number: int
    key: str
    name: str
    mistyped: bool = False

    @property
    def payload(self) -> bytes:
        """What the plant sends."""
        row = {"name": self.name, "mpan": "1100000000115" if self.mistyped else "1100000000114", "import_kw": 150}
        return json.dumps({"id": self.key, "chargers": [row]}).encode()


@dataclass
class Plant:
    """Keeps each message until it is acknowledged, in order; ``lossy`` is how likely each hop loses the link."""

    site: str
    dice: random.Random
    lossy: float = 0.0
    down_until: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)  # key -> message id
    told: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # key -> (number of the delivery, state)
    losses: int = 0
    on_acknowledged: Callable[[str], None] = lambda _id: None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, name: str, *, mistyped: bool = False) -> None:
        """Ask for an asset of this name; mistyped, its MPAN is none."""
        number = len(self.asked) + 1
        self.asked.append(Asked(number=number, key=f"{self.site}-{number}", name=name, mistyped=mistyped))
        self._more.set()

    @property
    def owed(self) -> list[Asked]:
        """What the plant knows no end of."""
        return [each for each in self.asked if not any(state in TERMINAL for _, state in self.told.get(each.key, ()))]

    @property
    def waiting(self) -> list[Asked]:
        """What was not acknowledged yet, oldest first."""
        return [each for each in self.asked if each.key not in self.acknowledged]

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """See `ports.Adapter`."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        await asyncio.sleep(self.dice.random() * HOP_S)
        if asyncio.get_running_loop().time() < self.down_until:
            raise LinkLost("no route to the plant")
        yield _Link(self)

    async def hop(self) -> None:
        """One message under way, which may be the link's last."""
        await asyncio.sleep(self.dice.random() * HOP_S)
        if self.dice.random() < self.lossy or asyncio.get_running_loop().time() < self.down_until:
            self.losses += 1
            raise LinkLost("the link broke")

    async def more(self, seen: int) -> list[Asked]:
        """What waits beyond message ``seen``, once there is any."""
        while not (found := [each for each in self.waiting if each.number > seen]):
            self._more.clear()
            await self._more.wait()
        return found


@dataclass
class _Link:
    plant: Plant
    greeted: bool = False
    seen: int = 0

    async def read(self) -> Sequence[Submitted | Reachable]:
        if not self.greeted:
            await self.plant.hop()
            self.greeted = True
            return [Reachable(at=VirtualClock().now())]
        found = await self.plant.more(self.seen)
        await self.plant.hop()
        self.seen = found[-1].number
        return [
            Submitted(
                message=MESSAGE,
                key=each.key,
                raw=each.payload,
                document=strict_json.loads(each.payload),
                snapshot={},
                receipt=Receipt(mailbox=MESSAGE, sequence=each.number),
                reply={"id": each.key},
                seen_at=VirtualClock().now(),
            )
            for each in found
        ]

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        await self.plant.hop()
        if not isinstance(outcome, Busy):
            asked = self.plant.asked[receipt.sequence - 1]
            self.plant.acknowledged[asked.key] = outcome.message_id or ""
            self.plant.on_acknowledged(outcome.message_id or "")
        await self.plant.hop()

    async def write(self, steps: Sequence[Write]) -> None:
        for step in steps:
            await self.plant.hop()
            if isinstance(step, ResultWrite):
                self.plant.told.setdefault(step.to["id"], []).append((step.number, str(step.result["state"])))
            else:
                assert isinstance(step, PointWrite), step
        await self.plant.hop()
