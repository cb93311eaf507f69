"""Server role over TLS: only masters with a certificate of the site's CA, and of its names, are answered."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Sequence

import pytest
import trustme

from gateway.errors import LinkLost, SecretError
from gateway.ports import Committed
from tests.adapters.modbus.master import Master, ServerRig, ended, hostile
from tests.adapters.modbus.rig import request

TLS = {"transport": "tls", "ca": "file:pki/ca.pem", "certificate": "file:pki/us.pem", "key": "file:pki/us.key"}


class Pki:
    """What the site's masters trust and show, and what we do."""

    def __init__(self) -> None:
        self.ours, self.site = trustme.CA(), trustme.CA()
        self.shown = self.ours.issue_cert("127.0.0.1")

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.shown.configure_cert(context)
        self.site.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def master(self, name: str | None, ca: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ours.configure_trust(context)
        if name is not None:
            (ca or self.site).issue_cert(name).configure_cert(context)
        return context


def rig(pki: Pki, names: Sequence[str] = ()) -> ServerRig:
    return ServerRig(settings={**TLS, **({"names": names} if names else {})}, tls=pki.server)


async def test_a_conversation_with_certificates_on_both_sides() -> None:
    """Pins request, acknowledgement and pipelining inside TLS, where one record holds many frames or half of one."""
    pki = Pki()
    adapter = rig(pki).adapter()
    async with (
        asyncio.timeout(60),
        adapter.connect() as session,
        Master.at(adapter.port, pki.master("scada.site.example")) as master,
    ):
        await master.request(7, [500])
        await session.confirm((await request(session)).receipt, Committed())
        assert await master.read(1200) == [7]
        master.writer.write(b"".join(master.frame(bytes([3, 4, 176, 0, 1])) for _ in range(20)))
        assert [(await master.answer())[1] for _ in range(20)] == [bytes([3, 2, 0, 7])] * 20


@pytest.mark.parametrize(
    ("name", "foreign"), [(None, False), ("scada.site.example", True)], ids=["no certificate", "of another CA"]
)
async def test_a_stranger_is_never_answered(name: str | None, foreign: bool) -> None:  # noqa: FBT001 - pytest's own way
    """Pins that nothing of it reaches the map, that it is told, and that the real master is served on."""
    pki = Pki()
    made = rig(pki)
    adapter = made.adapter()
    async with asyncio.timeout(60), adapter.connect() as session:
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            async with Master.at(adapter.port, pki.master(name, trustme.CA() if foreign else None)) as stranger:
                await stranger.request(9, [500])
        async with Master.at(adapter.port, pki.master("scada.site.example")) as master:
            assert await master.read(1000) == [0]
            await master.request(7, [500])
            assert (await request(session)).sequence == 7
    assert [event for event, _ in made.events] == ["master_refused"]


async def test_a_certificate_of_the_right_ca_needs_the_right_name() -> None:
    """Pins `names`: another machine of the same plant is not this site's SCADA."""
    pki = Pki()
    made = rig(pki, ["scada.site.example"])
    adapter = made.adapter()
    async with asyncio.timeout(60), adapter.connect():
        async with Master.at(adapter.port, pki.master("camera.site.example")) as other:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await other.read(1200)
        async with Master.at(adapter.port, pki.master("scada.site.example")) as master:
            assert await master.read(1200) == [0]
    (said,) = [str(fields["reason"]) for _, fields in made.events]
    assert said == "its certificate is camera.site.example, and names has none of that"


async def test_plain_modbus_finds_no_way_in() -> None:
    """Pins that a master without TLS, or one that stops in the handshake, is not answered and holds up nobody."""
    pki = Pki()
    adapter = rig(pki).adapter()
    async with asyncio.timeout(60), adapter.connect(), Master.at(adapter.port), Master.at(adapter.port) as plain:
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await plain.read(1200)
        async with Master.at(adapter.port, pki.master("scada.site.example")) as master:
            assert await master.read(1200) == [0]


async def test_each_handshake_shows_the_certificate_of_its_moment() -> None:
    """Pins that an exchanged certificate is shown to the next master while the listener stays open."""
    pki = Pki()
    adapter = rig(pki).adapter()
    async with asyncio.timeout(60), adapter.connect(), Master.at(adapter.port, pki.master("a.example")) as first:
        before = first.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
        pki.shown = pki.ours.issue_cert("127.0.0.1")
        async with Master.at(adapter.port, pki.master("a.example")) as second:
            assert second.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"] != before
            assert await second.read(1200) == await first.read(1200)


async def test_without_our_certificate_nothing_listens() -> None:
    """Pins that it is a lost link with the reason, tried again like any other."""

    def missing() -> ssl.SSLContext:
        raise SecretError("file:pki/us.pem: No such file or directory")

    with pytest.raises(LinkLost, match="No such file"):
        async with ServerRig(settings=TLS, tls=missing).adapter().connect():
            pass


async def test_three_thousand_hostile_streams_inside_and_before_tls_do_no_harm() -> None:
    """P17: no handshake at all, half of one, or sound TLS around what is no Modbus; the real master is served on."""
    pki, dice = Pki(), random.Random(20261126)
    ours, good = pki.server(), pki.master("scada.site.example")  # one for all: reading certificates takes its time
    adapter, hello = ServerRig(settings=TLS, tls=lambda: ours).adapter(), _hello(good)
    async with asyncio.timeout(200), adapter.connect() as session, Master.at(adapter.port, good) as well:
        await well.request(7, [500])
        await session.confirm((await request(session)).receipt, Committed())
        for _ in range(100):
            async with Master.at(adapter.port) as rude:
                start = dice.choice(
                    [dice.randbytes(40), rude.frame(b"\3\4\260\0\1"), hello[: dice.randrange(len(hello))]]
                )
                rude.writer.write(start + dice.randbytes(dice.randrange(60)))
                rude.writer.write_eof()
                await ended(rude)
            async with Master.at(adapter.port, good) as ill:
                for _ in range(29):
                    ill.writer.write(hostile(dice, ill))
                ill.writer.write(b"\xff" * 300)  # fills whatever frame is half, and is no Modbus then
                assert len(await ended(ill)) <= 29 * 260
        assert await well.read(1200, 2) == [7, 0]


def _hello(context: ssl.SSLContext) -> bytes:
    """What a master says first."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()
