"""Messages under the site's own ids: stored before they are acknowledged, each id once, nothing believed too early."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.core import strict_json
from gateway.core.mapping import MessageSpec, MessageTrigger, compile_template
from gateway.core.message import ASSETS, Draft, Message, Problem
from gateway.core.profile import Profile
from gateway.core.record import Appended, MessageFilter, Outgoing
from gateway.core.transaction import State
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.errors import JournalFull, LinkLost
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
from tests.edge.journal.faults import faulty_vfs
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
    log: io.StringIO
    outcomes: list[Committed | Refused | Busy] = field(default_factory=list)
    confirmed: list[int] = field(default_factory=list)  # the session's numbers, in the order in which it was told
    loses_at: int | None = None  # the message whose acknowledgement meets a lost link

    async def read(self) -> Sequence[News]:
        raise AssertionError

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        if receipt.sequence == self.loses_at:
            raise LinkLost("closed by the peer")
        self.confirmed.append(receipt.sequence)
        self.outcomes.append(outcome)

    async def write(self, steps: Sequence[Write]) -> None:
        raise AssertionError(steps)

    async def send(self, key: str | None, members: Mapping[str, object], *, fault: Problem | None = None) -> None:
        await self.send_all([(key, members)], fault=fault)

    async def send_all(
        self, sent: Sequence[tuple[str | None, Mapping[str, object]]], *, fault: Problem | None = None
    ) -> None:
        asked = [
            Submitted(
                message="chp",
                key=key,
                raw=json.dumps(members).encode(),
                document=strict_json.loads(json.dumps(members).encode()),
                snapshot={},
                receipt=Receipt(mailbox="chp", sequence=number),
                reply={"id": key or "-"},
                seen_at=self.clock.now(),
                fault=fault,
            )
            for number, (key, members) in enumerate(sent, start=1)
        ]
        await self.submissions.take_in("mqtt", self, asked, {})

    def told(self, event: str) -> int:
        """How often this was told."""
        return [json.loads(line)["event"] for line in self.log.getvalue().splitlines()].count(event)

    async def messages(self) -> list[Message]:
        """Oldest first."""
        return list(reversed(await self.journal.history(MessageFilter())))


@asynccontextmanager
async def desk(
    folder: Path,
    profile: Profile,
    trigger: MessageTrigger,
    *,
    vfs: str | None = None,
    **limits: Any,  # noqa: ANN401 - of `Limited`
) -> AsyncIterator[Desk]:
    log = io.StringIO()
    clock, telemetry, signals = HandClock(), Telemetry(stream=log), Signals()
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
        folder / "journal.db", clock=clock, pipeline_after_verdict={}, event=telemetry.emit, vfs=vfs
    ) as journal:
        store = cast("Journal", Limited(journal, clock, **limits)) if limits else journal
        sender = Sender(store, {"exflex": account}, signals=signals, clock=clock, entropy=Even(), telemetry=telemetry)
        services = Services(journal=store, sender=sender, signals=signals, clock=clock, telemetry=telemetry)
        async with sender.running():
            yield Desk(Submissions(site, profile, services, Acceptance(site, services)), store, clock, log)


class Limited:
    """A journal that takes no message with these bytes in it; ``pause`` µs go by whenever it takes one."""

    def __init__(self, journal: Journal, clock: HandClock, *, refuses: bytes = b"never", pause: int = 0) -> None:
        self._clock = clock
        self._journal = journal
        self._refuses = refuses
        self._pause = pause

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    async def append(self, draft: Draft, outgoing: Outgoing | None = None) -> Appended:
        self._clock.at += self._pause
        if self._refuses in draft.raw:
            raise JournalFull("full")
        return await self._journal.append(draft, outgoing)


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
    async with desk(tmp_path, profile, BY_ID, refuses=b"CHP") as here:
        await here.send("A-1", CHP)
        assert here.outcomes == [Busy()]
        assert await here.messages() == []


def numbered(count: int) -> list[tuple[str | None, Mapping[str, object]]]:
    """So many messages under ids of their own."""
    return [(f"A-{number}", {"name": f"CHP {number}", "kw": 1200}) for number in range(1, count + 1)]


async def test_what_came_together_shares_commits_and_nothing_is_acknowledged_before(
    tmp_path: Path, profile: Profile
) -> None:
    """Twenty messages need two syncs; while the first is held up, the site hears nothing of any of them."""
    with faulty_vfs("submissions") as faults:
        async with desk(tmp_path, profile, BY_ID, vfs="submissions") as here:
            faults.gate.clear()
            faults.reached.clear()
            taking = asyncio.create_task(here.send_all(numbered(20)))
            assert await asyncio.to_thread(faults.reached.wait, 30)
            for _ in range(100):  # steps of the loop, more than twenty drafts need
                await asyncio.sleep(0)
            before = faults.syncs
            assert here.confirmed == []
            faults.gate.set()
            await taking
            assert faults.syncs - before <= 2
        assert here.confirmed == list(range(1, 21))


async def test_messages_are_stored_and_acknowledged_in_the_order_in_which_they_came(
    tmp_path: Path, profile: Profile
) -> None:
    """Within the lane; each id once, a repeat beside its original told the same, other content under it refused."""
    sent = [*numbered(5), ("A-2", {"name": "CHP 2", "kw": 1200}), ("A-3", {"name": "CHP 3", "kw": 1}), ("A-6", CHP)]
    async with desk(tmp_path, profile, BY_ID) as here:
        await here.send_all(sent)
        messages = await here.messages()
    accepted = [message for message in messages if message.state is State.ACCEPTED]
    assert [message.intake_key for message in accepted] == [f"id:A-{n}" for n in (1, 2, 3, 4, 5, 6)]
    assert here.confirmed == list(range(1, 9))
    assert here.outcomes[5] == here.outcomes[1]
    assert [type(outcome) for outcome in here.outcomes[6:]] == [Refused, Committed]


async def test_one_that_finds_no_room_stays_with_the_site_alone(tmp_path: Path, profile: Profile) -> None:
    """Its neighbours are stored and acknowledged; intake is told as paused once."""
    async with desk(tmp_path, profile, BY_ID, refuses=b"CHP 2") as here:
        await here.send_all(numbered(3))
        assert [type(outcome) for outcome in here.outcomes] == [Committed, Busy, Committed]
        assert len(await here.messages()) == 2
        assert here.told("intake_paused") == 1


async def test_the_same_bytes_beside_each_other_are_one_message(tmp_path: Path, profile: Profile) -> None:
    """Also when the window turns over while the first is being stored."""
    window = 10 * MINUTE
    async with desk(tmp_path, profile, replace(BY_ID, dedupe_us=window), pause=MINUTE) as here:
        here.clock.at += window - here.clock.at % window - MINUTE // 2
        await here.send_all([(None, CHP), (None, CHP)])
        assert len(await here.messages()) == 1


async def test_a_link_lost_between_them_hides_nothing(tmp_path: Path, profile: Profile) -> None:
    """What is on disk was told of, though only the first could be acknowledged."""
    async with desk(tmp_path, profile, BY_ID) as here:
        here.loses_at = 2
        with pytest.raises(LinkLost):
            await here.send_all(numbered(4))
        assert here.confirmed == [1]
        while len(await here.messages()) < 4:
            pass  # the commits that were begun come to their end by themselves
    assert here.told("message_accepted") == 4
