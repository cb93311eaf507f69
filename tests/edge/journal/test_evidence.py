"""P22: the audit cannot be quietly altered, neither in the journal nor in a file that was exported from it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli.evidence import verifier
from gateway.core.jwk import KeyRecord, public_key_from_jwk
from gateway.edge.journal.connection import open_reading
from gateway.edge.journal.examining import examine
from gateway.edge.journal.statements import Reading
from gateway.errors import JournalError
from tests.contracts.journal.scenario import FOREIGN, Place, draft
from tests.edge.journal import attested

_CASES = 100  # P22 at CI size, for the file and for the journal each
Json = Any


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return asyncio.run(attested.story(tmp_path_factory.mktemp("attested")))


@pytest.fixture(scope="module")
def exported(place: Place) -> bytes:
    return attested.export(place)


def faults(path: Path) -> list[str]:
    with closing(open_reading(path)) as connection, connection.moment():
        key = public_key_from_jwk(dict(attested.OWN.public_jwk), issuer="own", purpose="evidence")
        known: dict[tuple[str, str], dict[str, KeyRecord]] = {
            ("test", who): {key.key_id: key} for who in ("exstor", "exflex")
        }
        return list(examine(Reading(connection), known))


def refused(data: bytes) -> str:
    """What the verifier says against a file."""
    with pytest.raises(verifier.Fault) as fault:
        verifier.check(data)
    return str(fault.value)


# ---------------------------------------------------------------- a file
def test_a_sound_file_and_a_sound_journal_pass(place: Place, exported: bytes) -> None:
    """Nothing is said against what was not touched; a message's entries are all there, others' only as digests."""
    assert faults(place.path) == []
    own, notes, _ = verifier.check(exported)
    assert [line["event"] for line in own] == ["valid", "taken", "transaction", "success", "relay_delivered"]
    assert notes == []
    assert "failure" in [line["event"] for line in verifier.check(attested.export(place, draft(2).id))[0]]
    assert b"hams-bess-3" not in exported


def test_what_no_checkpoint_covers_is_said(place: Place) -> None:
    """A message whose last entries are not signed yet is not good; it is to be exported again."""
    assert "no checkpoint covers entry" in refused(attested.export(place, draft(4).id))


def places(value: Json, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*way, key)
        yield from places(inner, (*way, key))


def written(document: Json) -> bytes:
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


@settings(max_examples=_CASES, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_file_is_found(exported: bytes, data: st.DataObject) -> None:
    """Any value changed, member deleted, element moved, doubled or left out, and any byte flipped or cut off."""
    document = json.loads(exported)
    way = data.draw(st.sampled_from(list(places(document))))
    holder = document
    for key in way[:-1]:
        holder = holder[key]
    act = data.draw(st.sampled_from(["change", "delete", "double", "swap", "flip", "cut"]))
    match act:
        case "change":
            holder[way[-1]] = data.draw(st.sampled_from([None, 0, "", "x", [], {}, {"utf8": ""}, ["x"]]))
        case "delete":
            del holder[way[-1]]
        case "double" if isinstance(holder, list):
            holder.insert(way[-1], holder[way[-1]])
        case "swap" if isinstance(holder, list) and len(holder) > 1:
            other = data.draw(st.integers(0, len(holder) - 1))
            holder[way[-1]], holder[other] = holder[other], holder[way[-1]]
    spoilt = written(document)
    if act == "flip":
        at = data.draw(st.integers(0, len(exported) - 1))
        spoilt = exported[:at] + bytes([exported[at] ^ data.draw(st.integers(1, 255))]) + exported[at + 1 :]
    elif act == "cut":
        spoilt = exported[: data.draw(st.integers(0, len(exported) - 1))]
    if spoilt != exported:
        assert refused(spoilt)


def test_a_hidden_line_is_found(exported: bytes) -> None:
    """A line of the message shown as a digest, as other messages' lines are, is noticed wherever it is."""
    document = json.loads(exported)
    own = [place for place, entry in enumerate(document["entries"]) if isinstance(entry, str)]
    for at in own:
        spoilt = json.loads(exported)
        line = spoilt["entries"][at]
        spoilt["entries"][at] = {"subject": verifier.sha256(attested.MESSAGE), "digest": verifier.sha256(line)}
        assert "hidden" in refused(written(spoilt))
        spoilt["entries"][at]["subject"] = verifier.sha256("another")
        assert refused(written(spoilt))


def test_a_splice_from_another_chain_is_found(place: Place, exported: bytes) -> None:
    """Another participant's entry, checkpoint, or all but the names in the head, put into a file."""
    other = json.loads(attested.export(place, draft(1, FOREIGN).id))
    for name in ("entries", "checkpoints", "exhibits", "keys", "previous"):
        spoilt = json.loads(exported) | {name: other[name]}
        if spoilt != json.loads(exported):
            assert refused(written(spoilt))
    renamed = other | {name: json.loads(exported)[name] for name in ("participant", "message")}
    assert refused(written(renamed))


def test_only_known_keys_are_believed(exported: bytes) -> None:
    """With the keys that somebody knows, one that only calls itself the same is refused."""
    stranger, own = (verifier.thumbprint(dict(k.public_jwk)) for k in (attested.STRANGER, attested.OWN))
    smp = verifier.thumbprint(dict(attested.SMP.public_jwk))
    assert verifier.check(exported, {own, smp})
    with pytest.raises(verifier.Fault, match="none of yours"):
        verifier.check(exported, {stranger, smp})


# ---------------------------------------------------------------- the journal
COLUMNS = ("at", "environment", "participant", "message_id", "actor", "event", "to_state", "detail", "exhibits", "link")


_EXHIBITS = ('{"facts":{"attempt":9}}', '{"facts":{}}x', "[]", '{"facts":[]}', '{"exhibits":{"raw":["x"]}}', "", "null")


def change(raw: apsw.Connection, draw: st.DataObject, row: int) -> None:
    column = draw.draw(st.sampled_from(COLUMNS))
    value = 1 if column == "at" else "x"
    if column == "exhibits":
        value = draw.draw(st.sampled_from(_EXHIBITS))
    raw.execute(f"UPDATE audit SET {column} = ? WHERE id = ?", (value, row))


def delete(raw: apsw.Connection, _draw: st.DataObject, row: int) -> None:
    raw.execute("DELETE FROM audit WHERE id = ?", (row,))


def reorder(raw: apsw.Connection, draw: st.DataObject, row: int) -> None:
    (chain,) = raw.execute("SELECT participant FROM audit WHERE id = ?", (row,)).fetchone() or ("",)
    rows = [each for (each,) in raw.execute("SELECT id FROM audit WHERE participant = ? AND id <> ?", (chain, row))]
    other = draw.draw(st.sampled_from(rows))
    raw.execute("UPDATE audit SET id = -1 WHERE id = ?", (row,))
    raw.execute("UPDATE audit SET id = ? WHERE id = ?", (row, other))
    raw.execute("UPDATE audit SET id = ? WHERE id = -1", (other,))


def truncate(raw: apsw.Connection, _draw: st.DataObject, row: int) -> None:
    raw.execute("DELETE FROM audit WHERE id >= ?", (row,))


def shorten(raw: apsw.Connection, _draw: st.DataObject, row: int) -> None:
    """Truncate, and make the chain's own count fit; what a checkpoint has signed is missed even so."""
    (chain,) = raw.execute("SELECT participant FROM audit WHERE id = ?", (row,)).fetchone() or ("",)
    raw.execute("DELETE FROM audit WHERE id >= ? AND participant = ?", (row, chain))
    end = raw.execute("SELECT number, link FROM audit WHERE participant = ? ORDER BY id DESC", (chain,)).fetchone()
    if end is None:
        raw.execute("DELETE FROM chain WHERE participant = ?", (chain,))
    else:
        raw.execute("UPDATE chain SET length = ?, link = ? WHERE participant = ?", (*end, chain))


def insert(raw: apsw.Connection, _draw: st.DataObject, row: int) -> None:
    raw.execute(
        "INSERT INTO audit SELECT (SELECT MAX(id) + 1 FROM audit), number, at, environment, participant, message_id,"
        " submission_id, actor, event, from_state, to_state, detail, epoch, exhibits, link FROM audit WHERE id = ?",
        (row,),
    )


def splice(raw: apsw.Connection, draw: st.DataObject, row: int) -> None:
    (chain,) = raw.execute("SELECT participant FROM audit WHERE id = ?", (row,)).fetchone() or ("",)
    others = [each for (each,) in raw.execute("SELECT id FROM audit WHERE participant <> ?", (chain,))]
    other = draw.draw(st.sampled_from(others))
    raw.execute(
        "UPDATE audit SET (number, at, message_id, submission_id, actor, event, from_state, to_state, detail, epoch,"
        " exhibits, link) = (SELECT number, at, message_id, submission_id, actor, event, from_state, to_state, detail,"
        " epoch, exhibits, link FROM audit WHERE id = ?) WHERE id = ?",
        (other, row),
    )


def body(raw: apsw.Connection, draw: st.DataObject, _row: int) -> None:
    """The bytes that an entry attests, wherever they are kept."""
    table, column = draw.draw(
        st.sampled_from(
            [
                *(("message", "raw"), ("submission", "body"), ("attempt", "signature"), ("attempt", "answer")),
                *(("callback", "body"), ("callback", "signature"), ("exhibit", "body")),
            ]
        )
    )
    (kind,) = raw.execute(f"SELECT typeof({column}) FROM {table} WHERE {column} IS NOT NULL").fetchone() or ("",)
    value: bytes | str = b"other" if kind == "blob" else "other"
    raw.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL", (value,))


def unsign(raw: apsw.Connection, draw: st.DataObject, _row: int) -> None:
    """A checkpoint that somebody else signed, or that tells of another entry."""
    column = draw.draw(st.sampled_from(["number", "link", "token"]))
    value = 1 if column == "number" else "x"
    raw.execute(
        f"UPDATE checkpoint SET {column} = ? WHERE number = (SELECT MAX(number) FROM checkpoint"
        " WHERE participant = 'exstor') AND participant = 'exstor'",
        (value,),
    )


ACTS = (change, delete, reorder, truncate, shorten, insert, splice, body, unsign)


@settings(max_examples=_CASES, deadline=None)
@given(draw=st.data())
def test_whatever_is_done_to_the_audit_is_found(
    place: Place, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    """Rows changed, deleted, moved, cut off, put in or copied from another chain, and the bytes that they attest."""
    spoil: Callable[[apsw.Connection, st.DataObject, int], None] = draw.draw(st.sampled_from(ACTS))
    copy = tmp_path_factory.mktemp("spoilt") / "journal.db"
    shutil.copy(place.path, copy)
    with closing(apsw.Connection(str(copy))) as raw:
        raw.pragma("foreign_keys", 0)
        raw.execute("DROP TRIGGER audit_unchanged; DROP TRIGGER audit_complete")
        signed = "SELECT MAX(c.number) FROM checkpoint c WHERE c.participant = audit.participant"
        last = f" WHERE number <= ({signed})" if spoil is shorten else ""
        rows = [row for (row,) in raw.execute(f"SELECT id FROM audit{last}")]
        before = raw.total_changes()
        spoil(raw, draw, draw.draw(st.sampled_from(rows)))
        changed = raw.total_changes() != before
    found = faults(copy)
    copy.unlink()
    assert bool(found) == changed


@pytest.mark.parametrize("text", _EXHIBITS)
def test_whatever_stands_in_place_of_exhibits_is_told_and_no_more(place: Place, tmp_path: Path, text: str) -> None:
    """The chain is found broken there, whether or not that can be read at all; an export is refused in words."""
    copy = tmp_path / "journal.db"
    shutil.copy(place.path, copy)
    with closing(apsw.Connection(str(copy))) as raw:
        raw.execute("DROP TRIGGER audit_unchanged")
        raw.execute("UPDATE audit SET exhibits = ? WHERE message_id = ?", (text, attested.MESSAGE))
    told = faults(copy)
    assert any(fault.startswith("test/exstor: entry 1 is not what was written") for fault in told), told
    with suppress(JournalError):
        assert refused(attested.export(Place(copy)))


def test_a_chain_that_was_shortened_with_its_own_count_is_missed(place: Place, tmp_path: Path) -> None:
    """The last entries taken away, and the chain's count made to fit: only what was signed tells."""
    copy = tmp_path / "journal.db"
    shutil.copy(place.path, copy)
    with closing(apsw.Connection(str(copy))) as raw:
        raw.pragma("foreign_keys", 0)
        raw.execute("DROP TRIGGER audit_unchanged; DROP TRIGGER audit_complete")
        (signed,) = raw.execute("SELECT MAX(number) FROM checkpoint WHERE participant = 'exflex'").fetchone() or (0,)
        raw.execute("DELETE FROM audit WHERE participant = 'exflex' AND number >= ?", (signed,))
        raw.execute(
            "UPDATE chain SET (length, link) = (SELECT number, link FROM audit WHERE participant = 'exflex'"
            " ORDER BY number DESC LIMIT 1) WHERE participant = 'exflex'"
        )
    told = [fault for fault in faults(copy) if fault.startswith("test/exflex")]
    assert told == [f"test/exflex: it has {signed - 1} entries, and {signed} were signed"]


def test_the_audit_refuses_to_be_changed(place: Place) -> None:
    """An UPDATE or DELETE of the audit fails by itself, for whoever has not taken the triggers away."""
    with closing(apsw.Connection(str(place.path))) as raw:
        for statement in ("UPDATE audit SET detail = ''", "DELETE FROM audit"):
            with pytest.raises(apsw.ConstraintError, match="only grows"):
                raw.execute(statement)
