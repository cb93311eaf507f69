"""One journal of each implementation, on fresh ground."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.ports import Journal
from tests.contracts.journal.scenario import IMPLEMENTATIONS, Place


@pytest.fixture(params=IMPLEMENTATIONS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
async def journal(place: Place) -> AsyncIterator[Journal]:
    async with place.open() as opened:
        yield opened
