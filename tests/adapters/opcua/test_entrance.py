"""Who gets into our own OPC UA server, and what nobody may do there whoever they are (P20)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest
from asyncua import Client, ua
from asyncua.client.ua_client import UaClient
from asyncua.common.utils import ServiceError
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.opcua import entrance
from adapters.opcua.config import MODES, POLICIES
from gateway.cli.certificates import application_certificate, private_pem
from gateway.core.transaction import State
from gateway.ports import Committed, Session
from tests.adapters.opcua.server_rig import ServerRig, call, put, serve, shows
from tests.adapters.opcua.test_security import KEY, NOW, OTHER_KEY, Today

CLIENT = "urn:site:ems"
SEED = 20261125
REFUSED_WRITES = 500
_STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
REFUSAL = (ua.UaError, ServiceError, OSError, TimeoutError)


def secured(policy: str = "Basic256Sha256/SignAndEncrypt", **members: object) -> ServerRig:
    """A listener that trusts the site's own certificate and nobody else's."""
    keys = {"certificate": "file:ours.der", "key": "file:ours.pem", "trust": "file:site.der"}
    return ServerRig(
        members={"security": policy, **keys, **members},
        secrets={
            "ours.der": application_certificate("urn:smp-gateway:exstor", KEY, now=NOW),
            "ours.pem": private_pem(KEY),
            "site.der": application_certificate(CLIENT, OTHER_KEY, now=NOW),
            "password": b"sesame\n",
        },
        clock=Today(),
    )


async def a_client(rig: ServerRig, key: rsa.RSAPrivateKey = OTHER_KEY, uri: str = CLIENT) -> Client:
    """The site's client, or one with another key under the same name."""
    client = rig.client()
    client.application_uri = uri
    known = key is OTHER_KEY and uri == CLIENT
    shown = rig.secrets["site.der"] if known else application_certificate(uri, key, now=NOW)
    policy, _, mode = str(rig.members["security"]).partition("/")
    await client.set_security(
        getattr(security_policies, f"SecurityPolicy{policy}"),
        CertProperties(shown, "der"),
        CertProperties(private_pem(key), "pem"),
        mode=ua.MessageSecurityMode[mode],
    )
    return client


async def gets_in(client: Client) -> bool:
    try:
        async with asyncio.timeout(20), client:
            await shows(client, "SMP.Heartbeat")
    except REFUSAL:
        return False
    finally:
        client.disconnect_socket()
    return True


async def test_every_policy_and_mode_is_spoken() -> None:
    """What the YAML offers works, and nothing else is offered beside it."""
    for policy in POLICIES:
        rig = secured(f"{policy}/{MODES[-1]}")
        async with rig.listening():
            assert await gets_in(await a_client(rig))
            assert not await gets_in(rig.client())  # without security


async def test_only_trusted_certificates_get_in() -> None:
    """Another key under the site's own name, and another name with the site's key."""
    rig = secured()
    async with rig.listening():
        assert not await gets_in(await a_client(rig, _STRANGER))
        assert not await gets_in(await a_client(rig, uri="urn:site:other"))
        assert await gets_in(await a_client(rig))


async def test_the_channels_certificate_counts_not_the_one_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own check looks at what the client says: nothing, or a certificate that is not its own."""
    rig = secured()
    for claimed in (None, rig.secrets["site.der"]):
        async with rig.listening():
            with monkeypatch.context() as patch:
                _claim(patch, claimed)
                assert not await gets_in(await a_client(rig, _STRANGER))
                patch.setattr(entrance.Entrance, "admit", lambda *_: None)
                assert await gets_in(await a_client(rig, _STRANGER))  # so this test would see it


def _claim(patch: pytest.MonkeyPatch, certificate: bytes | None) -> None:
    """Let clients claim this certificate in CreateSession, whatever their channel's is."""
    real = UaClient.create_session

    async def claiming(self: UaClient, parameters: ua.CreateSessionParameters) -> ua.CreateSessionResult:
        parameters.ClientCertificate = certificate
        return await real(self, parameters)

    patch.setattr(UaClient, "create_session", claiming)


async def test_a_login_is_asked_for_where_there_is_one() -> None:
    """The right name with the right password; anonymous, a wrong one, and somebody called admin stay outside."""
    rig = secured(username="ems", password="file:password")
    async with rig.listening():
        for name, password, expected in (
            ("ems", "sesame", True),
            ("ems", "sesame\n", False),
            ("ems", "", False),
            ("admin", "sesame", False),
            (None, None, False),
        ):
            client = await a_client(rig)
            if name is not None:
                client.set_user(name)
                client.set_password(password or "")
            assert await gets_in(client) is expected, (name, password)


async def test_nothing_is_done_before_the_login() -> None:
    """A session that was created and not activated may not read, write or submit."""
    rig = ServerRig(members={"security": "None", "username": "ems", "password": "file:password", "plain": "a test"})
    rig.secrets["password"] = b"sesame"
    async with rig.listening() as session:
        serving = asyncio.create_task(serve(session, Committed(state=State.ACCEPTED)))
        client = rig.client()
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()
        await client.create_session()
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: call(client, "A", "{}"),
            lambda: shows(client, "Plant.soc"),
            lambda: put(client, "Plant.soc", 1.0, ua.VariantType.Double),
        ]
        for attempt in attempts:
            with pytest.raises(REFUSAL):
                await attempt()
        client.disconnect_socket()
        assert not serving.done()
        serving.cancel()


async def test_one_listener_has_room_for_few_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library counts the sessions of the whole process, so that one site could shut out another's."""
    monkeypatch.setattr(entrance, "SESSIONS", 2)
    rig = ServerRig()
    async with rig.listening():
        first, second = rig.client(), rig.client()
        async with first, second:
            assert not await gets_in(rig.client())
            other = ServerRig()
            async with other.listening():
                assert await gets_in(other.client())
        assert await gets_in(rig.client())


async def test_nobody_writes_what_is_not_theirs() -> None:
    """Five hundred refused writes: our points, results, the server's own nodes, other attributes."""
    rig = ServerRig()
    dice = random.Random(SEED)
    ours = ["Plant.limit", "Plant.state", "Plant.text", "SMP.Heartbeat", "SMP.Result.Sequence", "SMP.Result.Json"]
    async with rig.listening() as session, rig.client() as client:
        nodes = [client.get_node(f"ns=2;s={name}").nodeid for name in ours]
        nodes += [client.nodes.server_state.nodeid, client.nodes.namespace_array.nodeid]
        others = [a for a in ua.AttributeIds if a is not ua.AttributeIds.Value]
        before = [await shows(client, name) for name in ours[3:]]
        for _ in range(REFUSED_WRITES // 10):
            statuses = await _write_ten(client, dice, nodes, others)
            assert not [status for status in statuses if status.is_good()]
        assert [await shows(client, name) for name in ours[3:]] == before
        with pytest.raises(REFUSAL):
            await client.nodes.objects.add_variable(2, "mine", 1)
        with pytest.raises(REFUSAL):
            await client.delete_nodes([client.get_node("ns=2;s=Plant.limit")])
        await _nothing_was_told(session, client)


async def _write_ten(
    client: Client, dice: random.Random, nodes: Sequence[ua.NodeId], others: Sequence[ua.AttributeIds]
) -> list[ua.StatusCode]:
    values = [ua.Variant(1.0, ua.VariantType.Float), ua.Variant("x"), ua.Variant(7, ua.VariantType.UInt32)]
    found: list[ua.StatusCode] = []
    for _ in range(10):
        value = ua.DataValue(dice.choice(values))
        own = dice.random() < 0.5
        node = dice.choice(nodes) if own else client.get_node("ns=2;s=Plant.soc").nodeid
        attribute = ua.AttributeIds.Value if own else dice.choice(others)
        found += await client.uaclient.write_attributes([node], [value], attribute)
    return found


async def _nothing_was_told(session: Session, client: Client) -> None:
    await put(client, "Plant.breaker", value=True, kind=ua.VariantType.Boolean)
    assert [getattr(news, "point", None) for news in await session.read()] == ["breaker"]
