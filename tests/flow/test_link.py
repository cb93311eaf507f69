"""One connection's supervisor: patience with sites that come and go, and nothing written before a first reading."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from gateway.app import adapters
from gateway.core.point import Reading
from gateway.errors import LinkLost
from gateway.flow.acceptance import Services
from gateway.flow.link import Link
from gateway.flow.safeguard import Safeguard
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.flow.uplink import Uplink
from gateway.ports import Busy, Committed, Journal, MailboxStatus, Receipt, Refused, Request, Session, Write
from gateway.settings.configuration import Configuration, load
from gateway.telemetry import Telemetry
from tests.flow.virtual import Even, VirtualClock, run

EXAMPLE = Path(__file__).parents[2] / "config" / "gateway.yaml"
SHOWN = MailboxStatus(mailbox="plc", request_seq=5, acknowledged=5, result_seq=0, result_acknowledged=0, at=0)


@dataclass
class Plant:
    """An adapter whose sessions show one status and then stay silent; ``reads`` may raise instead.

    A step that is named in ``swallows`` ends well when it is cancelled, as ``asyncio.wait_for`` may before Python 3.12.
    """

    reads: Callable[[], Sequence[Reading | Request | MailboxStatus]] = lambda: [SHOWN]
    did: list[str] = field(default_factory=list)
    swallows: str = ""
    loses: str = ""  # the step at which the link is lost

    async def step(self, name: str) -> None:
        if name == self.loses:
            await asyncio.sleep(0.1)
            _gone()
        if name == self.swallows:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    def connect(self) -> AbstractAsyncContextManager[Session]:
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        self.did.append("connect")
        await self.step("connect")
        yield PlantSession(self)


@dataclass
class PlantSession:
    plant: Plant
    told: bool = False

    async def read(self) -> Sequence[Reading | Request | MailboxStatus]:
        await self.plant.step("later read" if self.told else "first read")
        if self.told and self.plant.swallows != "later read":
            await asyncio.Event().wait()
        await asyncio.sleep(0.1)
        self.plant.did.append("read")
        self.told = True
        return self.plant.reads()

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        raise AssertionError(f"{receipt} {outcome}")

    async def write(self, steps: Sequence[Write]) -> None:
        await self.plant.step("write")
        self.plant.did.append("write" if steps else "nothing")


def watch(plant: Plant, folder: Path, seconds: float) -> list[str]:
    """Keep the link for this long, and return the log's event names."""
    configuration = load(EXAMPLE, adapters=adapters(), state=folder, environ={})
    log = io.StringIO()

    async def story() -> None:
        link = _link(configuration, plant, Telemetry(stream=log))
        task = asyncio.create_task(link.run())
        await asyncio.sleep(seconds)
        task.cancel()
        async with asyncio.timeout(3600):
            await asyncio.gather(task, return_exceptions=True)

    run(story())
    return [json.loads(line)["event"] for line in log.getvalue().splitlines()]


class NoRelays:
    """As much of a journal as a link asks for whose site has no relays and no news; it needs no thread."""

    async def next_relay(self, _site: str, _connection: str) -> None:
        return None

    async def next_callback_relay(self, _site: str, _connection: str) -> None:
        return None


def _link(configuration: Configuration, plant: Plant, telemetry: Telemetry) -> Link:
    site, journal = configuration.sites["hams-bess"], cast("Journal", NoRelays())
    clock, signals = VirtualClock(), Signals()
    sender = Sender(journal, {}, signals=signals, clock=clock, entropy=Even(), telemetry=telemetry)
    services = Services(journal=journal, sender=sender, signals=signals, clock=clock, telemetry=telemetry)
    profile = configuration.environments["test"].profile
    uplink = Uplink(site, profile, services)
    guard = Safeguard(site, {}, services, up=lambda _: True)
    return Link(site, "plc", plant, uplink=uplink, guard=guard, readings={}, services=services, entropy=Even())


def _gone() -> Sequence[Reading]:
    raise LinkLost("closed by the peer")


def test_a_site_that_connects_and_never_answers_is_left_in_peace(tmp_path: Path) -> None:
    """It takes the connection and drops it: pauses grow to 30 s, and it is told as lost once."""
    plant = Plant(reads=_gone)
    events = watch(plant, tmp_path, 3600)
    assert 120 <= plant.did.count("connect") <= 140
    assert events.count("site_lost") == 1
    assert "site_connected" not in events


def test_nothing_is_written_before_the_first_reading(tmp_path: Path) -> None:
    """Connect, read, and only then the heartbeat's first write."""
    plant = Plant()
    events = watch(plant, tmp_path, 10)
    assert plant.did[:3] == ["connect", "read", "write"]
    assert events.count("site_connected") == 1


@pytest.mark.parametrize("step", ["connect", "first read", "later read", "write"])
def test_a_library_that_swallows_the_cancellation_keeps_nobody(tmp_path: Path, step: str) -> None:
    """The link is left while a step is under way that ends well all the same: it ends, and connects no more."""
    plant = Plant(swallows=step)
    watch(plant, tmp_path, 10)
    assert plant.did.count("connect") == 1


@pytest.mark.parametrize("when", ["later read", "write"])
def test_a_link_that_is_lost_after_it_served_comes_again(tmp_path: Path, when: str) -> None:
    """Whichever task of a session meets the loss, the link connects again, and again after that."""
    plant = Plant(loses=when)
    events = watch(plant, tmp_path, 30)
    assert plant.did.count("connect") >= 3
    assert "site_connected" in events
