"""A site that is down for three days gets its verdicts when it is back: all, in order, one consumption at a time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from gateway.app import adapters
from gateway.core.mailbox import Role
from gateway.core.message import ASSETS, Hops, Lane, Message
from gateway.core.relay import MAILBOX_STATES, Relay, RelayRule
from gateway.core.transaction import State
from gateway.errors import LinkLost
from gateway.flow.acceptance import Services
from gateway.flow.link import Link
from gateway.flow.safeguard import Safeguard
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.flow.uplink import Uplink
from gateway.ports import Busy, Committed, Journal, MailboxStatus, Receipt, Refused, RoleWrite, Session, Write
from gateway.settings.configuration import load
from gateway.telemetry import Telemetry
from tests.flow.virtual import Even, VirtualClock, run

EXAMPLE = Path(__file__).parents[2] / "config" / "gateway.yaml"
HOUR_S = 3600.0
DOWN_S = 72 * HOUR_S
CONSUMED_S = 60.0  # the plant's program takes its time for each result


@dataclass
class Plant:
    """Unreachable for three days; then a mailbox whose program reads a result a minute after it was shown."""

    shown: list[tuple[int, int]] = field(default_factory=list)  # (request answered, result sequence)
    consumed: int = 0
    tries: int = 0

    def connect(self) -> AbstractAsyncContextManager[Session]:
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        self.tries += 1
        if asyncio.get_running_loop().time() < DOWN_S:
            raise LinkLost("no route to the plant")
        yield PlantSession(self)


@dataclass
class PlantSession:
    plant: Plant
    told: bool = False

    async def read(self) -> Sequence[MailboxStatus]:
        if self.told:
            await asyncio.sleep(CONSUMED_S)
        self.told = True
        self.plant.consumed = held = self.plant.shown[-1][1] if self.plant.shown else 0
        now = VirtualClock().now()
        return [
            MailboxStatus(
                mailbox="plc", request_seq=72, acknowledged=72, result_seq=held, result_acknowledged=held, at=now
            )
        ]

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        raise AssertionError(f"{receipt} {outcome}")

    async def write(self, steps: Sequence[Write]) -> None:
        roles = {step.role: step.value for step in steps if isinstance(step, RoleWrite)}
        if Role.RESULT_SEQ in roles:
            assert not self.plant.shown or self.plant.consumed == self.plant.shown[-1][1], "overwritten unread"
            self.plant.shown.append((int(str(roles[Role.RESULT_FOR])), int(str(roles[Role.RESULT_SEQ]))))


@dataclass
class Verdicts:
    """As much of a journal as a link asks for: the relays of one connection, oldest first."""

    due: list[Relay] = field(default_factory=list)

    async def next_relay(self, _site: str, _connection: str) -> tuple[Relay, Message] | None:
        return (self.due[0], _message(self.due[0])) if self.due else None

    async def next_callback_relay(self, _site: str, _connection: str) -> None:
        return None

    async def relayed(
        self,
        relay_id: int,
        _hops: Hops,
        problem: str | None = None,
        written: object = None,  # noqa: ARG002 - evidence, which this journal does not keep
    ) -> None:
        assert (self.due.pop(0).id, problem) == (relay_id, None)


def _message(relay: Relay) -> Message:
    return Message(
        id=relay.message_id,
        lane=Lane(environment="test", participant="exstor", site="hams-bess", message="battery"),
        kind=ASSETS,
        intake_key=f"plc:1.{relay.rule.sequence}",
        content=b"{}",
        rows=1,
        state=State.COMPLETED,
        accepted_at=0,
        updated_at=0,
    )


def test_three_days_of_verdicts_reach_the_site_in_order_one_consumption_at_a_time(tmp_path: Path) -> None:
    """A verdict an hour while nobody answers: none expires, none is skipped, none overwrites an unread one."""
    plant, journal, log = Plant(), Verdicts(), io.StringIO()
    rule = RelayRule(connection="plc", on=MAILBOX_STATES, mailbox="plc")

    async def story() -> None:
        signals = Signals()
        link = asyncio.create_task(_link(plant, journal, signals, tmp_path, log).run())
        for hour in range(1, 73):
            await asyncio.sleep(HOUR_S)
            journal.due.append(
                Relay(
                    id=hour,
                    message_id=f"m{hour}",
                    participant="exstor",
                    site="hams-bess",
                    event=State.COMPLETED,
                    rule=replace(rule, sequence=hour),
                    result_seq=hour,
                )
            )
            signals.relay("hams-bess", "plc").set()
            assert not plant.shown
        await asyncio.sleep(73 * 2 * CONSUMED_S)
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)

    run(story())
    assert plant.shown == [(hour, hour) for hour in range(1, 73)]
    assert plant.tries > 8_000
    assert log.getvalue().count('"site_lost"') == 1


def _link(plant: Plant, verdicts: Verdicts, signals: Signals, folder: Path, log: io.StringIO) -> Link:
    configuration = load(EXAMPLE, adapters=adapters(), state=folder, environ={})
    site, journal = configuration.sites["hams-bess"], cast("Journal", verdicts)
    clock, telemetry = VirtualClock(), Telemetry(stream=log)
    sender = Sender(journal, {}, signals=signals, clock=clock, entropy=Even(), telemetry=telemetry)
    services = Services(journal=journal, sender=sender, signals=signals, clock=clock, telemetry=telemetry)
    uplink = Uplink(site, configuration.environments["test"].profile, services)
    guard = Safeguard(site, {}, services, up=lambda _: True)
    return Link(site, "plc", plant, uplink=uplink, guard=guard, readings={}, services=services, entropy=Even())
