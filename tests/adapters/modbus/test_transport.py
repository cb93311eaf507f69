"""TLS with certificates on both sides, and serial frames through a gateway with several units: each on its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

import pytest
import trustme
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerType

from adapters.modbus.simulator import ModbusSite, SerialGateway
from gateway.core.mailbox import Role
from gateway.errors import LinkLost
from gateway.ports import Committed
from tests.adapters.fault_proxy import fault_proxy
from tests.adapters.modbus.rig import MAILBOX, Rig, reading, request

RTU = {"transport": "rtu-over-tcp"}


class Pki:
    """A plant's CA, what its device shows, and what we show."""

    def __init__(self) -> None:
        self.plant, self.ours = trustme.CA(), trustme.CA()
        self.device = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.plant.issue_cert("127.0.0.1").configure_cert(self.device)
        self.ours.configure_trust(self.device)
        self.device.verify_mode = ssl.CERT_REQUIRED

    def client(self, *, trust: trustme.CA | None = None, shown: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        (trust or self.plant).configure_trust(context)
        if shown is not None:
            shown.issue_cert("smp-gateway").configure_cert(context)
        return context


@asynccontextmanager
async def secured(pki: Pki, context: ssl.SSLContext) -> AsyncIterator[Rig]:
    async with asyncio.timeout(60), ModbusSite(MAILBOX, tls=pki.device) as site:
        settings = {"transport": "tls", "ca": "file:pki/plant-ca.pem"}
        yield Rig(site, settings=settings, client_tls=lambda *_: context)


async def test_a_conversation_inside_tls_with_certificates_on_both_sides() -> None:
    """The frames are those of TCP, also where a TLS record holds half of one."""
    pki = Pki()
    async with secured(pki, pki.client(shown=pki.ours)) as rig, rig.adapter().connect() as session:
        sequence = await rig.site.request(1, [500] * 100)
        asked = await request(session)
        assert (asked.sequence, asked.snapshot["export_limit"].value) == (sequence, Decimal("50.0"))
        await session.confirm(asked.receipt, Committed())
        assert rig.site.role(Role.ACKNOWLEDGE) == sequence


async def test_a_device_that_is_not_the_plants_is_not_talked_to() -> None:
    """Its certificate comes from another CA: a lost link with the reason, before anything is asked (T4)."""
    pki = Pki()
    async with secured(pki, pki.client(trust=trustme.CA(), shown=pki.ours)) as rig:
        with pytest.raises(LinkLost, match=r"cannot be reached: .*certificate verify failed"):
            async with rig.adapter().connect():
                pass
        assert not rig.site.log


async def test_without_our_certificate_the_device_hangs_up() -> None:
    """A lost link, whether that shows in the handshake or with the first answer."""
    pki = Pki()
    async with secured(pki, pki.client()) as rig:
        with pytest.raises(LinkLost):
            async with rig.adapter().connect() as session:
                await session.read()
        assert not rig.site.log


async def test_a_missing_certificate_file_is_a_lost_link_with_its_name() -> None:
    """Keys may be made after the configuration is read, so it is not an error of the start."""
    async with ModbusSite(MAILBOX) as site:
        rig = Rig(site, settings={"transport": "tls", "ca": "file:pki/plant-ca.pem"})
        with pytest.raises(LinkLost, match=r"there is no file:pki/plant-ca\.pem"):
            async with rig.adapter().connect():
                pass


async def test_serial_frames_carry_the_whole_conversation() -> None:
    """Cut into single bytes by the gateway as serial lines do."""
    async with (
        asyncio.timeout(60),
        ModbusSite(MAILBOX, serial_frames=True) as site,
        fault_proxy(site.host, site.port) as proxy,
    ):
        proxy.slices = 1
        rig = Rig(site, settings={**RTU, "port": proxy.port})
        async with rig.adapter().connect() as session:
            sequence = await site.request(1, [500])
            asked = await request(session)
            await session.confirm(asked.receipt, Committed())
            assert (site.role(Role.ACKNOWLEDGE), asked.fault) == (sequence, None)


async def test_a_late_serial_answer_is_never_the_next_requests_value() -> None:
    """T1: without a transaction number the answer of before fits every question. Ours goes to a new connection."""
    async with asyncio.timeout(60), ModbusSite(MAILBOX, serial_frames=True) as site:
        rig = Rig(site, settings=RTU, timeout="200ms")
        site.set_registers(2000, [1111])
        async with rig.adapter().connect() as session:
            assert (await reading(session, "level")).value == Decimal(1111)
            site.freeze()
            with pytest.raises(LinkLost):
                await reading(session, "level")
            site.set_registers(2000, [2222])
            site.thaw()
            with pytest.raises(LinkLost):
                await session.read()
        async with rig.adapter().connect() as session:
            assert (await reading(session, "level")).value == Decimal(2222)


async def test_the_naive_client_takes_a_late_serial_answer_for_its_own() -> None:
    """T1 as it is: why `Line` closes. The library's client, asked again after a time-out, shows the value of before."""
    async with asyncio.timeout(60), ModbusSite(MAILBOX, serial_frames=True) as site:
        site.set_registers(2000, [1111, 2222])
        naive = AsyncModbusTcpClient(
            site.host, port=site.port, framer=FramerType.RTU, timeout=0.2, retries=0, reconnect_delay=0
        )
        assert await naive.connect()
        site.freeze()
        with pytest.raises(Exception, match="No response"):
            await naive.read_holding_registers(2000, count=1, device_id=1)
        second = asyncio.ensure_future(naive.read_holding_registers(2001, count=1, device_id=1))
        await asyncio.sleep(0)
        site.thaw()
        assert (await second).registers == [1111]
        naive.close()


async def test_a_dead_unit_costs_the_others_behind_its_gateway_nothing() -> None:
    """Three units answer and one is silent; each is a connection of its own, with its own pauses."""
    sites = [ModbusSite(MAILBOX, unit=number) for number in range(1, 5)]
    async with asyncio.timeout(60), SerialGateway(sites) as gateway, AsyncExitStack() as stack:
        settings = {**RTU, "port": gateway.port}
        *rigs, dead = (Rig(site, settings=settings, unit=number) for number, site in enumerate(sites, start=1))
        dead.timeout = "100ms"
        dead.site.freeze()
        silent = await stack.enter_async_context(dead.adapter().connect())
        waiting = asyncio.create_task(silent.read())
        for number, rig in enumerate(rigs, start=1):
            session = await stack.enter_async_context(rig.adapter().connect())
            rig.site.set_registers(2000, [number])
            while (await reading(session, "level")).value != Decimal(number):
                pass
        with pytest.raises(LinkLost, match="did not answer"):
            await waiting
