"""TLS with certificates on both sides, and passwords, against a real mosquitto: who is believed, and who is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from adapters.mqtt.simulator import MqttSite
from gateway.core.secret import Reference
from gateway.edge.tls import client_context
from gateway.errors import LinkLost
from gateway.ports import Committed, Reachable, ResultWrite
from tests.adapters.fault_proxy import FaultProxy, fault_proxy
from tests.adapters.mqtt.mosquitto import mosquitto
from tests.adapters.mqtt.rig import Rig, submitted

OURS = {"ca": "file:ca.pem", "certificate": "file:gateway.pem", "key": "file:gateway.key"}


@dataclass
class Secured:
    """A broker that wants certificates, behind a proxy, and the files with which it can be spoken to."""

    folder: Path
    proxy: FaultProxy
    trust: ssl.SSLContext

    def rig(self, settings: Mapping[str, object], host: str = "127.0.0.1") -> Rig:
        address = {"broker": f"mqtts://{host}:{self.proxy.port}"}
        return Rig(self.proxy.port, {**address, **settings}, client_tls=self._client_tls)

    def site(self) -> AbstractAsyncContextManager[MqttSite]:
        return MqttSite.connected("127.0.0.1", self.proxy.port, listen=("depot/#",), tls_context=self.trust)

    def _client_tls(self, ca: Reference | None, certificate: Reference | None, key: Reference | None) -> ssl.SSLContext:
        own = None
        if certificate is not None and key is not None:
            own = (self.folder / certificate.name, self.folder / key.name)
        return client_context(None if ca is None else (self.folder / ca.name).read_bytes(), own)


@asynccontextmanager
async def secured(folder: Path, *settings: str) -> AsyncIterator[Secured]:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    stranger.cert_pem.write_to_path(folder / "stranger.pem")
    trust = ssl.create_default_context(cafile=folder / "ca.pem")
    authority.issue_cert("depot").configure_cert(trust)
    made = {"broker": authority.issue_cert("127.0.0.1"), "gateway": authority.issue_cert("gateway")}
    for name, certificate in (made | {"forger": stranger.issue_cert("gateway")}).items():
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
    lines = [
        *(
            f"{setting} {folder / file}"
            for setting, file in (("cafile", "ca.pem"), ("certfile", "broker.pem"), ("keyfile", "broker.key"))
        ),
        "require_certificate true",
        "allow_anonymous true",
        *settings,
    ]
    async with mosquitto(*lines) as broker, fault_proxy("127.0.0.1", broker.port) as proxy, asyncio.timeout(60):
        yield Secured(folder, proxy, trust)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_request_and_result_with_certificates_on_both_sides(tmp_path: Path, version: str) -> None:
    """Sliced to single bytes, and more than the socket shows: nothing is left behind in the TLS layer."""
    async with secured(tmp_path, "max_inflight_messages 0") as broker:
        rig = broker.rig({**OURS, "version": version, "keepalive": "10s", "timeout": "10s"})
        async with broker.site() as site, rig.adapter().connect() as session:
            for number in range(12):
                await site.publish("depot/request", {"id": number, "padding": "x" * 40_000})
            for number in range(12):
                told = await submitted(session)
                assert told.key == str(number)
                await session.confirm(told.receipt, Committed())
            broker.proxy.slices = 1
            await session.write([ResultWrite(to={"topic": "depot/result/1"}, result={"id": "1"})])
            assert (await site.hears("depot/result/1")).json == {"id": "1"}


@pytest.mark.parametrize(
    ("settings", "host", "reason"),
    [
        ({**OURS, "ca": "file:stranger.pem"}, "127.0.0.1", "certificate verify failed"),
        (OURS, "localhost", "Hostname mismatch"),
        ({"ca": "file:ca.pem"}, "127.0.0.1", None),
        ({**OURS, "certificate": "file:forger.pem", "key": "file:forger.key"}, "127.0.0.1", None),
    ],
)
async def test_who_is_not_believed_is_a_lost_link(
    tmp_path: Path, settings: Mapping[str, object], host: str, reason: str | None
) -> None:
    """A broker of another CA or name, and we without the certificate that it wants."""
    async with secured(tmp_path) as broker:
        with pytest.raises(LinkLost, match=reason):
            async with broker.rig(settings, host).adapter().connect():
                pass


async def test_a_handshake_that_never_ends_is_a_lost_link(tmp_path: Path) -> None:
    """The broker takes the connection and is silent."""
    async with secured(tmp_path) as broker:
        broker.proxy.freeze()
        with pytest.raises(LinkLost):
            async with broker.rig(OURS).adapter().connect():
                pass


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_password_is_read_anew_and_never_shown(tmp_path: Path, version: str) -> None:
    """A wrong one is a lost link that says so; the right one in the same file counts from the next connect on."""
    users = tmp_path / "users"
    made = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", users, "smp", "open sesame")
    assert await made.wait() == 0
    users.chmod(0o600)
    async with mosquitto("allow_anonymous false", f"password_file {users}") as broker, asyncio.timeout(60):
        secrets = {"file:password": b"sesame street\n"}
        rig = Rig(broker.port, {"version": version, "username": "smp", "password": "file:password"}, secrets=secrets)
        adapter = rig.adapter()
        with pytest.raises(LinkLost, match=r"(?i)not authorized") as refused:
            async with adapter.connect():
                pass
        assert "sesame" not in str(refused.value)
        secrets["file:password"] = b"open sesame\n"
        async with adapter.connect() as session:
            assert isinstance((await session.read())[0], Reachable)
