from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto


@pytest.fixture
async def broker() -> AsyncIterator[Mosquitto]:
    async with mosquitto() as running, asyncio.timeout(60):
        yield running
