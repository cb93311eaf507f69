"""Messages under the site's own ids: stored before they are acknowledged, each id once, nothing believed too early."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from gateway.core import strict_json
from gateway.core.mapping import MessageSpec, MessageTrigger, compile_template
from gateway.core.message import ASSETS, Draft, Message, Problem
from gateway.core.profile import Profile
from gateway.core.record import Appended, MessageFilter, Outgoing
from gateway.core.transaction import State
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.errors import JournalFull
from gateway.flow.acceptance import Acceptance, Services
from gateway.flow.account import Account, Identity
from gateway.flow.gate import Gate
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.flow.submissions import Submissions
from gateway.ports import Busy, Committed, Journal, News, Receipt, Refused, Submitted, Write
from gateway.settings.configuration import SiteConfig
from gateway.telemetry import Telemetry
from tests.contracts.journal.scenario import HandClock
from tests.flow.test_account import Key, Smp
from tests.flow.virtual import Even

MINUTE = 60_000_000
TEMPLATE = {
    "assets": [
        {
            "assetName": {"path": "name"},
            "assetType": "Generation",
            "technology": "CHP",
            "meterPoints": [{"type": "MPAN", "id": "1100000000114", "direction": "Export"}],
            "connection": {"level": "Distribution", "gspGroup": "_B", "voltageKv": 11},
            "capacity": {"maxExportMw": {"path": "kw", "scale": 0.001}},
            "startDate": "2026-12-01",
        }
    ]
}


@dataclass
class Desk:
    """A session that only notes what it is told to confirm, and everything behind it but the SMP."""

    submissions: Submissions
    journal: Journal
    clock: HandClock
    outcomes: list[Committed | Refused | Busy] = field(default_factory=list)

    async def read(self) -> Sequence[News]:
        raise AssertionError

    async def confirm(self, _receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        self.outcomes.append(outcome)

    async def write(self, steps: Sequence[Write]) -> None:
        raise AssertionError(steps)

    async def send(self, key: str | None, members: Mapping[str, object], *, fault: Problem | None = None) -> None:
        raw = json.dumps(members).encode()
        asked = Submitted(
            message="chp",
            key=key,
            raw=raw,
            document=strict_json.loads(raw),
            snapshot={},
            receipt=Receipt(mailbox="chp", sequence=1),
            reply={"id": key or "-"},
            seen_at=self.clock.now(),
            fault=fault,
        )
        await self.submissions.take_in("mqtt", self, asked, {})

    async def messages(self) -> list[Message]:
        """Oldest first."""
        return list(reversed(await self.journal.history(MessageFilter())))


@asynccontextmanager
async def desk(folder: Path, profile: Profile, trigger: MessageTrigger, *, full: bool = False) -> AsyncIterator[Desk]:
    clock, telemetry, signals = HandClock(), Telemetry(stream=io.StringIO()), Signals()
    identity = Identity(
        participant="exflex",
        environment="test",
        profile=profile,
        base_url="https://smp.example",
        callback_audience="https://host.example",
        username="exflex",
        password="-",
    )
    gate = Gate("test", clock=clock, entropy=Even(), event=telemetry.emit)
    account = Account(
        identity,
        transport=Smp(),
        signer=Key(),
        callback_keys=Key(),
        gate=gate,
        clock=clock,
        entropy=Even(),
        event=telemetry.emit,
    )
    spec = MessageSpec(name="chp", kind=ASSETS, trigger=trigger, template=compile_template(TEMPLATE))
    site = SiteConfig(
        site="trent-chp",
        participant="exflex",
        environment="test",
        description="",
        connections={},
        points={},
        mailboxes={},
        messages={"chp": spec},
        relays=(),
        revision="1",
    )
    async with SqliteJournal.open(
        folder / "journal.db", clock=clock, pipeline_after_verdict={}, event=telemetry.emit
    ) as journal:
        store = cast("Journal", Full(journal)) if full else journal
        sender = Sender(store, {"exflex": account}, signals=signals, clock=clock, entropy=Even(), telemetry=telemetry)
        services = Services(journal=store, sender=sender, signals=signals, clock=clock, telemetry=telemetry)
        async with sender.running():
            yield Desk(Submissions(site, profile, services, Acceptance(site, services)), store, clock)


class Full:
    """A journal that takes nothing new."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    async def append(self, _draft: Draft, _outgoing: Outgoing | None = None) -> Appended:
        raise JournalFull("full")


BY_ID = MessageTrigger(connection="mqtt")
CHP = {"name": "CHP 1", "kw": 1200}


async def test_a_message_is_acknowledged_once_it_is_stored(tmp_path: Path, profile: Profile) -> None:
    """Its content is picked from the JSON, and its reply waits for the connection that brought it."""
    async with desk(tmp_path, profile, BY_ID) as here:
        await here.send("A-1", CHP)
        (message,) = await here.messages()
        assert here.outcomes == [Committed(message_id=message.id, state=State.ACCEPTED)]
        assert message.intake_key == "id:A-1"
        asset = json.loads(message.content)["assets"][0]
        assert (asset["assetName"], asset["capacity"]) == ("CHP 1", {"maxExportMw": 1.2})


async def test_the_same_again_makes_no_second_message(tmp_path: Path, profile: Profile) -> None:
    """Whatever made it come again, a lost acknowledgement or a careful site."""
    async with desk(tmp_path, profile, BY_ID) as here:
        for _ in range(3):
            await here.send("A-1", CHP)
        (message,) = await here.messages()
        assert here.outcomes == [Committed(message_id=message.id, state=State.ACCEPTED)] * 3


async def test_a_known_id_with_another_content_is_refused(tmp_path: Path, profile: Profile) -> None:
    """The first one stands; the second is kept as refused, acknowledged, and answered."""
    async with desk(tmp_path, profile, BY_ID) as here:
        await here.send("A-1", CHP)
        for _ in range(2):
            await here.send("A-1", {**CHP, "kw": 1300})
        first, second = await here.messages()
        assert (first.state, second.state, second.lane.message) == (State.ACCEPTED, State.REFUSED, "unbound")
        assert [problem.code for problem in second.problems] == ["id_reused"]
        refused = Refused(problems=second.problems, message_id=second.id)
        assert here.outcomes[1:] == [refused, refused]
        relay = await here.journal.next_relay("trent-chp", "mqtt")
        assert relay is not None
        assert (relay[0].message_id, relay[0].rule.reply) == (second.id, {"id": "A-1"})


async def test_what_is_not_believed_takes_no_id(tmp_path: Path, profile: Profile) -> None:
    """A forged message is refused and acknowledged, and the true one under its id is accepted afterwards."""
    async with desk(tmp_path, profile, BY_ID) as here:
        fault = Problem(code="bad_signature", message="not by this key")
        await here.send("A-1", {**CHP, "kw": 9}, fault=fault)
        await here.send("A-1", CHP)
        forged, true = await here.messages()
        assert (forged.state, forged.problems, true.state) == (State.REFUSED, (fault,), State.ACCEPTED)


async def test_without_an_id_nothing_is_made_unless_a_window_says_so(tmp_path: Path, profile: Profile) -> None:
    """A hash counts only where the YAML wants it to."""
    async with desk(tmp_path, profile, BY_ID) as here:
        await here.send(None, CHP)
        (message,) = await here.messages()
        assert (message.state, message.problems[0].code) == (State.REFUSED, "no_id")


async def test_the_same_bytes_are_one_message_inside_the_window_only(tmp_path: Path, profile: Profile) -> None:
    """From the first of them on, wherever in time that was."""
    async with desk(tmp_path, profile, replace(BY_ID, dedupe_us=10 * MINUTE)) as here:
        for pause, count in ((0, 1), (9 * MINUTE, 1), (2 * MINUTE, 2), (9 * MINUTE, 2), (0, 2), (2 * MINUTE, 3)):
            here.clock.at += pause
            await here.send(None, CHP)
            assert len(await here.messages()) == count


async def test_a_full_journal_leaves_the_message_with_the_site(tmp_path: Path, profile: Profile) -> None:
    """Busy: nothing is acknowledged and nothing is stored."""
    async with desk(tmp_path, profile, BY_ID, full=True) as here:
        await here.send("A-1", CHP)
        assert here.outcomes == [Busy()]
        assert await here.messages() == []
