"""Our own adapters' simulated sites, as the contract suite (adapters/contract.py) wants them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import orjson
from asyncua import Client, ua

from adapters.modbus.addresses import Table
from adapters.modbus.server import ModbusServerAdapter
from adapters.modbus.simulator.scada import ModbusScada
from adapters.mqtt.simulator import MqttSite, PracticeBroker
from adapters.opcua.server import OpcuaServerAdapter
from gateway.core.mailbox import HOST_BLOCK, MailboxSpec, Role
from gateway.ports import Adapter
from tests.adapters.fault_proxy import FaultProxy, fault_proxy
from tests.adapters.modbus import master as modbus_master
from tests.adapters.modbus.rig import Rig, running
from tests.adapters.mqtt import rig as mqtt_rig
from tests.adapters.opcua import rig as opcua_rig
from tests.adapters.opcua.server_rig import ServerRig, call, put, shows
from tests.ports import free_ports
from tests.system.rig import until


class ModbusPlant:
    """A PLC with the standard mailbox."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def adapter(self) -> Adapter:
        return self._rig.adapter()

    async def change(self, level: int) -> None:
        self._rig.site.set_registers(2000, [level])

    async def state(self) -> int:
        return self._rig.site.registers(1300)[0]

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
async def modbus() -> AsyncIterator[ModbusPlant]:
    async with running() as rig:
        rig.timeout = "200ms"
        yield ModbusPlant(rig)


class ModbusMasterPlant:
    """A SCADA that is the master of our register map, with the standard mailbox in it."""

    def __init__(self, port: int) -> None:
        box = MailboxSpec(name="plc", connection="plc", base=1000, results=1200)
        self._rig = modbus_master.ServerRig(settings={"listen": f"127.0.0.1:{port}"}, mailboxes={"plc": box})
        self._adapter: ModbusServerAdapter | None = None
        self.scada = ModbusScada(self._rig.connection(), box, port=port)

    def adapter(self) -> Adapter:
        self._adapter = self._rig.adapter()
        return self._adapter

    async def change(self, level: int) -> None:
        self.scada.put("level", Decimal(level))

    async def state(self) -> int:
        return self._shown(Table.INPUT, 100)

    async def ask(self, payload: Sequence[int]) -> int:
        return await self.scada.request(1, payload)

    def role(self, role: Role) -> int:
        return self._shown(Table.HOLDING, 1200 + HOST_BLOCK[role])

    def _shown(self, table: Table, address: int) -> int:
        """What stands in the map, which the SCADA reads a little later."""
        assert self._adapter is not None
        cells = self._adapter.shown.read(table, range(address, address + 1))
        assert cells is not None
        return cells[0]


@asynccontextmanager
async def modbus_server() -> AsyncIterator[ModbusMasterPlant]:
    plant = ModbusMasterPlant(*free_ports(1))
    async with plant.scada:
        yield plant


class OpcuaPlant:
    """An OPC UA server with a mailbox of nodes, behind a proxy that can be silent and vanish."""

    def __init__(self, rig: opcua_rig.Rig) -> None:
        self._rig = rig

    def adapter(self) -> Adapter:
        return self._rig.adapter()

    async def change(self, level: int) -> None:
        await self._rig.site.set_value("level", Decimal(level))

    async def state(self) -> int:
        return int(self._rig.site.raw("smp_state"))

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
async def opcua() -> AsyncIterator[OpcuaPlant]:
    async with opcua_rig.running() as rig:
        rig.timeout = "300ms"
        yield OpcuaPlant(rig)


class OpcuaClientPlant:
    """A SCADA that calls our own OPC UA server."""

    def __init__(self) -> None:
        self._rig = ServerRig()
        self._adapter: OpcuaServerAdapter | None = None
        self._client: Client | None = None
        self._calls: dict[str, asyncio.Task[ua.CallMethodResult]] = {}

    def adapter(self) -> Adapter:
        self._adapter = self._rig.adapter()
        return self._adapter

    async def change(self, level: int) -> None:
        await put(await self._connected(), "Plant.level", level, ua.VariantType.Int32)

    async def state(self) -> int:
        return int(str(await shows(await self._connected(), "Plant.smp_state")))

    async def send(self, ident: str, payload: str | None = None) -> None:
        self._calls[ident] = call(await self._connected(), ident, '{"name": "x"}' if payload is None else payload)

    async def acknowledged(self, ident: str) -> bool:
        return str((await self._calls[ident]).StatusCode.name) != "BadTooManyOperations"

    async def result(self, ident: str) -> str:
        client = await self._connected()

        async def stands() -> bool:
            return await shows(client, "SMP.Result.Id") == ident

        await until(stands)
        sequence = await shows(client, "SMP.Result.Sequence")
        await put(client, "SMP.Result.Acknowledge", sequence, ua.VariantType.UInt32)
        return str(await shows(client, "SMP.Result.State"))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.disconnect()

    async def _connected(self) -> Client:
        if self._client is None:
            assert self._adapter is not None
            self._client = self._rig.client(self._adapter.port)
            await self._client.connect()
        return self._client


@asynccontextmanager
async def opcua_server() -> AsyncIterator[OpcuaClientPlant]:
    plant = OpcuaClientPlant()
    try:
        yield plant
    finally:
        await plant.close()


class MqttPlant:
    """A depot at a broker, which we reach through a proxy that can be silent and vanish."""

    def __init__(self, rig: mqtt_rig.Rig, site: MqttSite, proxy: FaultProxy) -> None:
        self._rig = rig
        self._site = site
        self._proxy = proxy

    def adapter(self) -> Adapter:
        return self._rig.adapter()

    async def change(self, level: int) -> None:
        await self._site.publish("depot/limits/level", str(level), retain=True)

    async def state(self) -> int:
        return int((await self._site.hears("depot/smp/state")).payload)

    async def send(self, ident: str, payload: str | None = None) -> None:
        sound = orjson.dumps({"id": ident, "name": "x"}).decode()
        await self._site.publish("depot/request", sound if payload is None else payload)

    async def acknowledged(self, _: str) -> bool:
        return True  # to the broker, which keeps the message: what we do not acknowledge comes again by itself

    async def result(self, ident: str) -> str:
        return str((await self._site.hears(f"depot/result/{ident}")).json["state"])

    def silence(self) -> None:
        self._proxy.freeze()

    async def vanish(self) -> None:
        await self._proxy.vanish()

    async def come_back(self) -> None:
        await self._proxy.open()


@asynccontextmanager
async def mqtt() -> AsyncIterator[MqttPlant]:
    (port,) = free_ports(1)
    async with PracticeBroker(port), fault_proxy("127.0.0.1", port) as proxy:
        points = {**mqtt_rig.POINTS, "level": {"topic": "depot/limits/level", "type": "number"}}
        points["smp_state"] = {"topic": "depot/smp/state", "type": "number"}
        rig = mqtt_rig.Rig(proxy.port, {"version": "3.1.1"}, points=points)
        async with MqttSite.connected("127.0.0.1", port, listen=("depot/smp/#", "depot/result/#")) as site:
            yield MqttPlant(rig, site, proxy)
