"""The gateway on PostgreSQL: the same conversation, and a database that is killed in the middle of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.mailbox import state_code
from gateway.core.message import Hop
from gateway.core.transaction import State
from gateway.settings.resolved import DatabaseAddress
from gateway.settings.secrets import SecretRef, SecretSource
from tests.postgres import PostgresServer, postgres_server
from tests.system.rig import World, holds, until, world


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    with postgres_server() as server:
        yield server


@asynccontextmanager
async def moved(folder: Path, url: str) -> AsyncIterator[World]:
    """The example world with its journal in a database, whose URL is a secret."""
    async with world(folder) as here:
        secret = here.state / "secrets" / "journal.url"
        secret.write_text(f"{url}\n")
        where = DatabaseAddress(url=SecretRef(source=SecretSource.FILE, name=str(secret)))
        here.configuration = replace(here.configuration, journal=where)
        yield here


async def test_a_conversation_on_postgresql(postgres: PostgresServer, tmp_path: Path) -> None:
    """Request, verdict, read back, every hop on record; what people look into tells the same, also after a restart."""
    async with moved(tmp_path, postgres.fresh()) as here:
        async with here.gateway() as running:
            sequence = await here.ask("hams-bess", "HAMS 1")
            result = await here.plants["hams-bess"].result(sequence)
            await running.relayed()
            (message,) = await running.messages("hams-bess")
            assert (await running.ready())[0] == 200
        assert (result.state, result.for_sequence) == (state_code(State.COMPLETED), sequence)
        assert here.effects() == ["HAMS 1"]
        assert set(message.hops) == set(Hop)
        story = here.story(message.id)
        assert [row.to_state for row in story.audit if row.to_state is not None] == [
            State.ACCEPTED,
            State.SENDING,
            State.AWAITING,
            State.COMPLETED,
        ]
        async with here.gateway() as running:
            assert [m.state for m in await running.messages("hams-bess")] == [State.COMPLETED]
            sequence = await here.ask("hams-bess", "HAMS 2")
            assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.COMPLETED)
    assert here.effects() == ["HAMS 1", "HAMS 2"]


async def test_a_killed_database_is_waited_for_and_nothing_is_lost(own: PostgresServer, tmp_path: Path) -> None:
    """Requests raised while it is dead are acknowledged only when it is back; readiness says why, then all complete."""
    async with moved(tmp_path, own.fresh()) as here, here.gateway() as running:
        await here.plants["hams-bess"].result(await here.ask("hams-bess", "HAMS 1"))
        own.kill()
        sequence = await here.ask("solent-bess", "SOLENT 1")
        await holds(lambda: here.events("journal_away"))
        code, body = await running.ready()
        assert (code, body["reasons"][0].split(":")[0]) == (503, "journal")
        assert here.effects() == ["HAMS 1"]
        own.start()
        result = await here.plants["solent-bess"].result(sequence)
        assert result.state == state_code(State.COMPLETED)

        async def ready_again() -> bool:
            return (await running.ready())[0] == 200

        await until(ready_again)
        await running.relayed()
    assert here.effects() == ["HAMS 1", "SOLENT 1"]
    assert len(here.events("journal_back")) == 1
