"""One journal of each implementation, on fresh ground."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.ports import Journal
from tests.contracts.journal.scenario import Engine, Place, sqlite
from tests.postgres import PostgresServer


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "sqlite":
        return Engine(sqlite)
    server: PostgresServer = request.getfixturevalue("postgres")
    return Engine(lambda folder: Place(folder, url=server.fresh()), examples=10)


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Place:
    return engine.place(tmp_path)


@pytest.fixture
async def journal(place: Place) -> AsyncIterator[Journal]:
    async with place.open() as opened:
        yield opened
