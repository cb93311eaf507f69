"""The contract of `ports.Session` (adapters/contract.py), held by every adapter against its own simulated site."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.contract import MailboxContract, ReachedContract, SessionContract, SubmissionContract
from tests.contracts.adapters import plant as plants


class TestModbus(SessionContract, ReachedContract, MailboxContract):
    """A PLC that we poll."""

    @pytest.fixture
    async def plant(self) -> AsyncIterator[plants.ModbusPlant]:
        async with plants.modbus() as made:
            yield made


class TestModbusServer(SessionContract, MailboxContract):
    """A SCADA that is the master of our register map."""

    @pytest.fixture
    async def plant(self) -> AsyncIterator[plants.ModbusMasterPlant]:
        async with plants.modbus_server() as made:
            yield made


class TestOpcua(SessionContract, ReachedContract, MailboxContract):
    """A SCADA's server with a mailbox of nodes."""

    @pytest.fixture
    async def plant(self) -> AsyncIterator[plants.OpcuaPlant]:
        async with plants.opcua() as made:
            yield made


class TestOpcuaServer(SessionContract, SubmissionContract):
    """A SCADA that calls our server."""

    @pytest.fixture
    async def plant(self) -> AsyncIterator[plants.OpcuaClientPlant]:
        async with plants.opcua_server() as made:
            yield made


class TestMqtt(SessionContract, ReachedContract, SubmissionContract):
    """A depot at a broker."""

    @pytest.fixture
    async def plant(self) -> AsyncIterator[plants.MqttPlant]:
        async with plants.mqtt() as made:
            yield made
