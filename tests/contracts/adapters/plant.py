"""What the contract suite needs of any protocol: a plant that can ask, misbehave, vanish and come back.

Another adapter joins the suite by one more row in :data:`PLANTS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Protocol

from gateway.core.mailbox import Role
from gateway.ports import Adapter
from tests.adapters.modbus.rig import Rig, running
from tests.adapters.opcua import rig as opcua_rig


class Plant(Protocol):
    """A simulated site behind one adapter: mailbox ``plc``, and ``smp_state`` as a writable uint16 point."""

    def adapter(self) -> Adapter:
        """The adapter, as the product would build it."""

    async def ask(self, payload: Sequence[int]) -> int:
        """Raise a request; returns its sequence."""

    def role(self, role: Role) -> int:
        """What the mailbox shows."""

    def silence(self) -> None:
        """Keep the link open and answer nothing."""

    async def vanish(self) -> None:
        """Go away, taking every connection along."""

    async def come_back(self) -> None:
        """Be there again, remembering everything."""


class ModbusPlant:
    """The Modbus plant."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def adapter(self) -> Adapter:
        return self._rig.adapter()

    async def ask(self, payload: Sequence[int]) -> int:
        return await self._rig.site.request(1, payload)

    def role(self, role: Role) -> int:
        return self._rig.site.role(role)

    def silence(self) -> None:
        self._rig.site.freeze()

    async def vanish(self) -> None:
        await self._rig.site.stop()

    async def come_back(self) -> None:
        await self._rig.site.start()


@asynccontextmanager
async def modbus() -> AsyncIterator[Plant]:
    async with running() as rig:
        rig.timeout = "200ms"
        yield ModbusPlant(rig)


class OpcuaPlant:
    """The OPC UA plant, behind a proxy that can be silent and vanish."""

    def __init__(self, rig: opcua_rig.Rig) -> None:
        self._rig = rig

    def adapter(self) -> Adapter:
        return self._rig.adapter()

    async def ask(self, payload: Sequence[int]) -> int:
        return await self._rig.site.request(1, {"export_limit": Decimal(payload[0]), "serial": f"{payload}"})

    def role(self, role: Role) -> int:
        return self._rig.site.role(role)

    def silence(self) -> None:
        self._rig.proxy.freeze()

    async def vanish(self) -> None:
        await self._rig.proxy.vanish()

    async def come_back(self) -> None:
        await self._rig.proxy.open()


@asynccontextmanager
async def opcua() -> AsyncIterator[Plant]:
    async with opcua_rig.running() as rig:
        rig.timeout = "300ms"
        yield OpcuaPlant(rig)


PLANTS: Mapping[str, Callable[[], AbstractAsyncContextManager[Plant]]] = {"modbus": modbus, "opcua": opcua}
