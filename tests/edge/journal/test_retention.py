"""What is old is removed, and neither the rest of its chain nor a file exported before is the worse for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gateway.cli.evidence import verifier
from gateway.core import evidence, jws
from gateway.core.evidence import ChainHead
from gateway.core.jwk import public_key_from_jwk
from gateway.core.message import Hop
from gateway.core.relay import CallbackRelay
from gateway.core.transaction import State
from gateway.errors import SigningFailed
from gateway.flow.notary import Seal
from gateway.flow.retention import Retention
from gateway.ports import Journal
from gateway.telemetry import Telemetry
from tests.contracts.journal.scenario import (
    BATTERY,
    FOREIGN,
    SECOND,
    UNCLEAR,
    Place,
    accepted,
    callback,
    carrying,
    draft,
    sent,
    sqlite,
    state_of,
)
from tests.contracts.journal.scenario import evidence as called_back
from tests.edge.journal import attested

DAY = 86_400 * SECOND
TABLES = ("message", "submission", "part", "attempt", "callback", "relay", "exhibit", "hop", "audit")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return sqlite(tmp_path)


def retention(journal: Journal, place: Place, signer: object = attested.OWN) -> Retention:
    seals: Mapping[str, Seal] = {
        name: Seal(environment="test", signer=signer, keys=[attested.OWN.public_jwk])  # type: ignore[arg-type]
        for name in ("exstor", "exflex")
    }
    return Retention(journal, lambda: seals, keep_us=DAY, clock=place.clock, telemetry=Telemetry(level="critical"))


def faults(place: Place) -> list[str]:
    """What a check of the whole journal says, which knows the participants' key."""
    key = public_key_from_jwk(dict(attested.OWN.public_jwk), issuer="own", purpose="evidence")
    with place.look() as reader:
        return list(reader.examine({("test", who): {key.key_id: key} for who in ("exstor", "exflex")}))


def counts(place: Place) -> dict[str, int]:
    with closing(apsw.Connection(str(place.path))) as raw:
        return {table: int(raw.execute(f"SELECT COUNT(*) FROM {table}").get) for table in TABLES}


async def test_what_is_old_goes_and_the_chain_still_holds(place: Place) -> None:
    """Rows of the old messages are gone from every table; check and export go on, and an old file still verifies."""
    async with place.open() as journal:
        for sequence in range(1, 31):
            await attested.completed(journal, sequence)
        await attested.polled(journal, 31)
        await attested.seal(journal)
        before = attested.export(place, draft(3).id)
        place.clock.at += 2 * DAY
        await attested.completed(journal, 32)
        await attested.completed(journal, 1, FOREIGN)
        await attested.seal(journal)
        whole = counts(place)
        await retention(journal, place).sweep()
        left = counts(place)
        assert await journal.message(draft(3).id) is None
        assert await state_of(journal, 32) is State.COMPLETED
        assert (left["message"], left["submission"], left["attempt"], left["part"]) == (2, 2, 2, 2)
        assert all(0 < left[table] < whole[table] for table in TABLES)
        assert faults(place) == []
        own, _, _ = verifier.check(attested.export(place, draft(32).id))
        assert json.loads(attested.export(place, draft(32).id))["previous"]["number"] == whole["audit"] - 10
        assert own[0]["number"] == whole["audit"] - 9
        verifier.check(before)
        await attested.completed(journal, 33)
    async with place.open() as journal:
        await retention(journal, place).sweep()
        assert counts(place)["message"] == 3
    assert faults(place) == []


async def test_what_is_open_or_owed_stays_with_all_that_followed(place: Place) -> None:
    """An open message, and one whose site has not read its verdict, hold back their own participant's chain only."""
    async with place.open() as journal:
        await attested.completed(journal, 1)
        await sent(journal, 2, "open")
        await attested.completed(journal, 3, replace(BATTERY, message="other"))
        await attested.completed(journal, 1, FOREIGN)
        owed = await sent(journal, 2, "owed", FOREIGN)
        await journal.settle(owed.id, 1, accepted("TX"))
        await journal.receive(called_back("c", lane=FOREIGN), callback("TX"), None)
        await attested.completed(journal, 3, replace(FOREIGN, site="elsewhere"))
        place.clock.at += 2 * DAY
        await retention(journal, place).sweep()
        assert [await journal.message(draft(1, lane).id) for lane in (BATTERY, FOREIGN)] == [None, None]
        for kept in (draft(2), draft(3, replace(BATTERY, message="other")), draft(2, FOREIGN)):
            assert await journal.message(kept.id) is not None
        relay = await journal.next_relay(FOREIGN.site, "plc")
        assert relay is not None
        await journal.relayed(relay[0].id, {Hop.READ_BACK: 9})
        await journal.settle("open", 1, UNCLEAR)
        assert await state_of(journal, 2) is State.IN_DOUBT
        await retention(journal, place).sweep()
        assert await journal.message(draft(2, FOREIGN).id) is None
        assert await journal.message(draft(2).id) is not None
    assert faults(place) == []


async def test_a_submission_stays_while_one_of_its_messages_does(place: Place) -> None:
    """Of two that went together the first may be old and the second not: what carried both is still there."""
    async with place.open() as journal:
        await sent(journal, 9, "before")
        for sequence in (1, 2):
            await journal.append(draft(sequence, rules=()))
        await journal.settle("before", 1, accepted("TX-9"))
        both = carrying("both", (1, range(3)), (2, range(3)))
        assert await journal.take(draft(1).id, both) is not None
        await journal.settle("both", 1, accepted("TX"))
        await journal.receive(called_back("c"), callback("TX"), None)
        with closing(apsw.Connection(str(place.path))) as raw:
            raw.execute("UPDATE message SET updated_at = 1 WHERE id = ?", (draft(1).id,))
            raw.execute("UPDATE message SET updated_at = ? WHERE id = ?", (1 << 60, draft(2).id))
            raw.execute("UPDATE message SET state = 'completed', updated_at = 1 WHERE id = ?", (draft(9).id,))
            raw.execute("UPDATE relay SET state = 'delivered'")
        place.clock.at += 2 * DAY
        await retention(journal, place).sweep()
        assert await journal.message(draft(1).id) is None
        assert [each.id for each in await journal.submissions(draft(2).id)] == ["both"]
        changed = await journal.receive(called_back("late"), callback("TX"), None)
        assert changed is not None


async def test_a_loose_callback_goes_with_its_entry(place: Place) -> None:
    """A callback that never belonged to anything is kept as long as messages are, and no longer."""
    async with place.open() as journal:
        await journal.receive(called_back("lost"), callback("TX-unknown"), None)
        await attested.completed(journal, 1)
        assert await journal.unmatched(1 << 62) == {"exstor": 1}
        place.clock.at += 2 * DAY
        await attested.completed(journal, 2)
        await journal.receive(called_back("young", b"another"), callback("TX-other"), None)
        await retention(journal, place).sweep()
        assert await journal.unmatched(1 << 62) == {"exstor": 1}
    assert faults(place) == []


async def test_a_callback_that_a_site_is_still_to_get_stays(place: Place) -> None:
    """One of another type is owed to the site that asked for it, however old; when it was written it goes."""
    owed = CallbackRelay(site="hams-bess", connection="plc", write={"smp_state": 1})
    async with place.open() as journal:
        for jti in ("first", "second"):
            await journal.receive(called_back(jti, jti.encode()), callback(None, verdict=None), None, [owed])
        relay = await journal.next_callback_relay("hams-bess", "plc")
        assert relay is not None
        place.clock.at += 2 * DAY
        await attested.completed(journal, 1)
        await retention(journal, place).sweep()
        assert await journal.next_callback_relay("hams-bess", "plc") == relay
        await journal.callback_relayed(relay.id)
        await retention(journal, place).sweep()
        later = await journal.next_callback_relay("hams-bess", "plc")
        assert later is not None
        assert later.id != relay.id
        with closing(apsw.Connection(str(place.path))) as raw:
            assert raw.execute("SELECT COUNT(*) FROM callback WHERE jti = 'first'").get == 0
    assert faults(place) == []


async def test_nothing_goes_without_a_signature(place: Place) -> None:
    """A key that does not sign keeps everything; and who deletes without a cut is refused by the file itself."""

    class Silent:
        key_id, algorithm, public_jwk = "k", "ES256", attested.OWN.public_jwk

        def sign(self, _data: bytes) -> bytes:
            raise SigningFailed("the device is away")

    async with place.open() as journal:
        await attested.completed(journal, 1)
        place.clock.at += 2 * DAY
        await attested.completed(journal, 2)
        whole = counts(place)
        await retention(journal, place, Silent()).sweep()
        assert counts(place) == whole
    with closing(apsw.Connection(str(place.path))) as raw, pytest.raises(apsw.ConstraintError, match="only grows"):
        raw.execute("DELETE FROM audit WHERE number = 1")


@pytest.mark.parametrize("column", ["number", "link", "at", "token", "all"])
async def test_a_false_cut_is_found(place: Place, column: str) -> None:
    """Who removes more than was signed, or signs with another key, is told by the check."""
    async with place.open() as journal:
        for sequence in range(1, 4):
            await attested.completed(journal, sequence)
        await attested.seal(journal)
        place.clock.at += 2 * DAY
        await attested.completed(journal, 4)
        await retention(journal, place).sweep()
    assert faults(place) == []
    with closing(apsw.Connection(str(place.path))) as raw:
        number, link = raw.execute(
            "SELECT number, link FROM audit ORDER BY number DESC LIMIT 1 OFFSET 1"
        ).fetchone() or (0, "")
        head = ChainHead(environment="test", participant="exstor", number=int(str(number)), link=str(link))
        token = jws.sign_compact(
            attested.STRANGER,
            {"alg": "ES256", "kid": attested.OWN.key_id, "typ": evidence.CUT_TYP},
            evidence.cut_payload(head, 7),
        )
        values = {"number": head.number, "link": head.link, "at": 7, "token": token}
        for name in values if column == "all" else (column,):
            raw.execute(f"UPDATE cut SET {name} = ?", (values[name],))
        raw.execute("DELETE FROM audit WHERE number <= (SELECT number FROM cut)")
    assert faults(place)


async def test_a_sweep_that_was_cut_short_is_finished(place: Place) -> None:
    """After a crash between the cut and the last batch the check passes, and the next sweep removes the rest."""
    async with place.open() as journal:
        for sequence in range(1, 6):
            await attested.completed(journal, sequence)
        place.clock.at += 2 * DAY
        await attested.completed(journal, 6)
        swept = retention(journal, place)
        found = await journal.removable("test", "exstor", place.clock.at - DAY, limit=1_000)
        assert found is not None
        await journal.cut(swept._signed(found, Seal(environment="test", signer=attested.OWN, keys=[])))
        assert await journal.remove("test", "exstor", limit=7) == 7
    assert faults(place) == []
    async with place.open() as journal:
        await retention(journal, place).sweep()
        assert counts(place)["message"] == 1
    assert faults(place) == []
