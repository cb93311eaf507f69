"""The rounds of promises that are tried on PostgreSQL: two gateways struck, commits cut off, the audit altered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway.core.jwk import KeyRecord, public_key_from_jwk
from gateway.core.message import Hop
from gateway.core.transaction import Event, State
from gateway.edge.journal.examining import examine
from gateway.edge.journal.postgres_connection import Connection, Database
from gateway.edge.journal.statements import Parameter, Reading
from gateway.ports import Journal
from tests.contracts.journal.scenario import Place, accepted, callback, draft, evidence, sent
from tests.crash.nodes import node_run
from tests.deep.rounds import Round
from tests.edge.journal import attested
from tests.edge.journal.test_postgres import CuttingProxy, behind
from tests.postgres import PostgresServer, postgres_server

STROKES, CUTS, ALTERATIONS = 8, 24, 60
_WAY = [
    (None, State.ACCEPTED),
    (Event.TAKEN, State.SENDING),
    (Event.TRANSACTION, State.AWAITING),
    (Event.SUCCESS, State.COMPLETED),
]
_COLUMNS = ("at", "number", "message_id", "actor", "event", "to_state", "detail", "epoch", "exhibits", "link")


def strike(seed: int, folder: Path) -> Round:
    """Kill, pause and stop two gateways in traffic, and their database, and compare what everybody says."""
    with postgres_server() as server:
        outcome = asyncio.run(node_run(folder, server, seed=seed, strokes=STROKES))
    failures = [*map(str, outcome.violations), *outcome.alarms]
    if outcome.late:
        failures.append(f"{outcome.late} rows were written by a gateway that had been replaced")
    if outcome.late_writes:
        failures.append(f"{outcome.late_writes} writes into plants were asked for by a gateway that had been replaced")
    if not outcome.drained:
        failures.append(f"it did not drain: {outcome}")
    return Round(STROKES, failures)


# ---------------------------------------------------------------- what became of a COMMIT
def cut(seed: int, folder: Path, count: int = CUTS) -> Round:
    """Reset connections at COMMIT, before the server sees it or when it answers: each effect is there once."""
    with postgres_server() as server:
        return asyncio.run(_cut(server, Place(folder, url=server.fresh()), random.Random(seed), count))


async def _cut(server: PostgresServer, place: Place, dice: random.Random, cuts: int) -> Round:
    failures, number = [], 0
    async with behind(server, place) as (proxy, far), far.open() as journal:
        while proxy.cuts < cuts:
            number += 1
            await _live(journal, number, proxy, dice)
    for each in range(1, number + 1):
        steps = place.steps(draft(each).id)
        if [(event, after) for _, event, after in steps][1:] != _WAY[1:] or steps[0][2] is not State.ACCEPTED:
            failures.append(f"message {each} went {steps}")
    with place.look() as reader:
        failures += reader.examine({})
    return Round(proxy.cuts, failures)


async def _live(journal: Journal, number: int, proxy: CuttingProxy, dice: random.Random) -> None:
    """One message's way, each commit of which may be cut off."""
    name = f"s{number}"
    proxy.cut = dice.choice((None, "before", "after"))
    await sent(journal, number, name)
    proxy.cut = dice.choice((None, "before", "after"))
    await journal.settle(name, 1, accepted(f"TX {number}"))
    proxy.cut = dice.choice((None, "before", "after"))
    await journal.receive(evidence(f"c{number}"), callback(f"TX {number}"), None)
    relay = await journal.next_relay("hams-bess", "plc")
    if relay is None or relay[0].message_id != draft(number).id:
        raise RuntimeError(f"message {number} owes its site something else: {relay}")
    proxy.cut = dice.choice((None, "before", "after"))
    await journal.relayed(relay[0].id, {Hop.READ_BACK: 9}, written=b"[]")


# ---------------------------------------------------------------- the audit
def alter(seed: int, folder: Path, count: int = ALTERATIONS) -> Round:
    """Alter the audit as the owner of the database can; what is not found is a failure."""
    dice = random.Random(seed)
    with postgres_server() as server:
        place = Place(folder, url=server.fresh())
        asyncio.run(attested.tell(place))
        with closing(Database(str(place.url)).connect()) as raw:
            failures = [f"unaltered: {fault}" for fault in _faults(raw)]
            for _ in range(count):
                raw.ask("BEGIN")
                raw.ask("ALTER TABLE audit DISABLE TRIGGER ALL")
                said = dice.choice(_ACTS)(raw, dice)
                if not _faults(raw):
                    failures.append(f"not found: {said}")
                raw.ask("ROLLBACK")
    return Round(count, failures)


def _faults(raw: Connection) -> list[str]:
    key = public_key_from_jwk(dict(attested.OWN.public_jwk), issuer="own", purpose="evidence")
    known: dict[tuple[str, str], dict[str, KeyRecord]] = {
        ("test", who): {key.key_id: key} for who in ("exstor", "exflex")
    }
    return list(examine(Reading(raw), known))


def _entry(raw: Connection, dice: random.Random) -> dict[str, Parameter]:
    return {"id": dice.choice(raw.ask("SELECT id FROM audit ORDER BY id"))[0]}


def _change(raw: Connection, dice: random.Random) -> str:
    """One value of an entry; a number is another one, a text a longer one."""
    column, which = dice.choice(_COLUMNS), _entry(raw, dice)
    value = f"{column} + 1" if column in {"at", "number", "epoch"} else f"COALESCE({column}, '') || 'x'"
    raw.ask(f"UPDATE audit SET {column} = {value} WHERE id = %(id)s", which)
    return f"{column} of {which}"


def _delete(raw: Connection, dice: random.Random) -> str:
    which = _entry(raw, dice)
    raw.ask("DELETE FROM audit WHERE id = %(id)s", which)
    return f"deleted {which}"


def _cut_off(raw: Connection, dice: random.Random) -> str:
    """An entry and everything after it in its chain."""
    which = _entry(raw, dice)
    raw.ask(
        "DELETE FROM audit WHERE id >= %(id)s"
        " AND participant = (SELECT a.participant FROM audit a WHERE a.id = %(id)s)",
        which,
    )
    return f"cut off from {which}"


def _double(raw: Connection, dice: random.Random) -> str:
    which = _entry(raw, dice)
    columns = f"{', '.join(_COLUMNS)}, environment, participant, submission_id, from_state"
    raw.ask(f"INSERT INTO audit ({columns}) SELECT {columns} FROM audit WHERE id = %(id)s", which)
    return f"doubled {which}"


def _swap(raw: Connection, dice: random.Random) -> str:
    """What two entries say, in each other's place."""
    first, second = dice.sample([row[0] for row in raw.ask("SELECT id FROM audit ORDER BY id")], 2)
    columns = ", ".join(_COLUMNS)
    raw.ask(
        f"UPDATE audit SET ({columns}) = (SELECT {columns} FROM audit o"
        " WHERE o.id = CASE audit.id WHEN %(a)s THEN %(b)s ELSE %(a)s END) WHERE id IN (%(a)s, %(b)s)",
        {"a": first, "b": second},
    )
    return f"{first} and {second} swapped"


def _bytes(raw: Connection, dice: random.Random) -> str:
    """The bytes that entries attest, wherever they are kept."""
    table, column = dice.choice((("message", "raw"), ("submission", "body"), ("callback", "body"), ("exhibit", "body")))
    raw.ask(f"UPDATE {table} SET {column} = {column} || 'x'::bytea")
    return f"{table}.{column}"


_ACTS: tuple[Callable[[Connection, random.Random], str], ...] = (_change, _delete, _cut_off, _double, _swap, _bytes)
