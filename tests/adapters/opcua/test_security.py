"""Whom we trust, whom we are, and that a password leaves only towards somebody who is trusted (T6)."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from asyncua import Client, Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.opcua.config import MODES, POLICIES, OpcuaConnection
from adapters.opcua.simulator import URI, OpcuaSite
from gateway.cli.certificates import application_certificate, private_pem
from gateway.errors import LinkLost
from gateway.ports import PointWrite
from tests.adapters.fault_proxy import fault_proxy
from tests.adapters.opcua.rig import KINDS, MAILBOX, Rig, connection

NOW = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates are judged against today
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DER = serialization.Encoding.DER


class Today:
    """Certificates are judged by the gateway's own clock, so this one tells the time."""

    def now(self) -> int:
        return int(NOW.timestamp() * 1_000_000)


@dataclass
class Users:
    """The plant's user manager: one name, one password; whoever asks is on record."""

    asked: list[tuple[str | None, str | None]] = field(default_factory=list)

    def get_user(
        self, _: object, username: str | None = None, password: str | None = None, certificate: object = None
    ) -> User | None:
        self.asked.append((username, password))
        known = certificate is not None if username is None else (username, password) == ("gateway", "sesame")
        return User(role=UserRole.User) if known else None


def server_certificate(uri: str = URI, days: int = 1) -> bytes:
    return application_certificate(uri, KEY, now=NOW - dt.timedelta(days=5 * 365 - days))


@asynccontextmanager
async def plant(certificate: bytes, users: Users | None = None) -> AsyncIterator[Rig]:
    """A server with this certificate and every policy, behind a proxy; the rig trusts exactly it."""

    async def prepare(server: Server) -> None:
        await server.load_certificate(certificate, "der")
        await server.load_private_key(private_pem(KEY), format="pem")
        server.set_security_policy([kind for kind in ua.SecurityPolicyType if kind.name != "NoSecurity"])
        if users is not None:
            server.iserver.user_manager = users  # type: ignore[assignment]
            server.set_identity_tokens([ua.UserNameIdentityToken, ua.X509IdentityToken])

    plain = OpcuaConnection(endpoint="opc.tcp://127.0.0.1:4840", security="None")
    async with (
        OpcuaSite(connection(plain, {"plc": MAILBOX}), kinds=KINDS, prepare=prepare) as site,
        fault_proxy(site.host, site.port) as proxy,
    ):
        rig = Rig(site, proxy, clock=Today())
        rig.members = {
            "security": "Basic256Sha256/SignAndEncrypt",
            "certificate": "file:ours.der",
            "key": "file:ours.pem",
            "trust": "file:plant.der",
        }
        rig.secrets = {
            "ours.der": application_certificate("urn:smp-gateway:exstor", OTHER_KEY, now=NOW),
            "ours.pem": private_pem(OTHER_KEY),
            "plant.der": certificate,
            "password": b"sesame\n",
            "user.der": application_certificate("urn:user", OTHER_KEY, now=NOW),
            "user.pem": private_pem(OTHER_KEY),
        }
        yield rig


async def connects(rig: Rig) -> None:
    async with rig.adapter().connect() as session:
        assert await session.read()
        await session.write([PointWrite(point="permit", value=True)])


async def is_refused(rig: Rig, words: str) -> None:
    with pytest.raises(LinkLost, match=words):
        async with rig.adapter().connect():
            pass


async def test_every_policy_and_mode_connects() -> None:
    """What the YAML offers works, with the certificates that `keys generate` makes."""
    async with plant(server_certificate()) as rig:
        for policy in POLICIES:
            for mode in MODES:
                rig.members["security"] = f"{policy}/{mode}"
                await connects(rig)


async def test_a_stranger_gets_no_password() -> None:
    """The library alone connects to whoever answers; we compare with the trust list before we log in."""
    users = Users()
    async with plant(server_certificate(), users) as rig:
        rig.secrets["plant.der"] = application_certificate(URI, OTHER_KEY, now=NOW)  # the same name, another key
        rig.members |= {"username": "gateway", "password": "file:password"}
        await is_refused(rig, "Untrusted|not trusted")
        assert users.asked == []
        naive = Client(f"opc.tcp://127.0.0.1:{rig.proxy.port}")
        naive.application_uri = "urn:smp-gateway:exstor"
        naive.set_user("gateway")
        naive.set_password("sesame")
        ours = CertProperties(rig.secrets["ours.der"], "der"), CertProperties(rig.secrets["ours.pem"], "pem")
        await naive.set_security(SecurityPolicyBasic256Sha256, *ours)
        async with naive:
            assert users.asked == [("gateway", "sesame")]


@pytest.mark.parametrize(("uri", "days", "words"), [("urn:other", 1, "[Uu]ri|URI"), (URI, -1, "[Tt]ime|expired")])
async def test_a_trusted_certificate_must_fit_its_owner_and_the_day(uri: str, days: int, words: str) -> None:
    """A stolen or outdated certificate is in the list, and still no proof."""
    async with plant(server_certificate(uri, days)) as rig:
        await is_refused(rig, words)


async def test_a_certificate_may_come_from_a_trusted_authority() -> None:
    """And from no other; PEM files hold as many as there are."""
    authority, stranger = _authority(OTHER_KEY, "plants"), _authority(KEY, "others")
    issued = _issued(authority, OTHER_KEY)
    async with plant(issued) as rig:
        rig.secrets["plant.der"] = _pem(stranger) + _pem(authority)
        await connects(rig)
        rig.secrets["plant.der"] = _pem(stranger)
        await is_refused(rig, "Untrusted|not trusted")


@pytest.mark.parametrize(
    "login",
    [
        {"username": "gateway", "password": "file:password"},
        {"user_certificate": "file:user.der", "user_key": "file:user.pem"},
    ],
)
async def test_users_log_in_by_password_or_certificate(login: dict[str, object]) -> None:
    """The file's line end is no part of the password."""
    users = Users()
    async with plant(server_certificate(), users) as rig:
        rig.members |= login
        await connects(rig)
        assert len(users.asked) == 1


async def test_a_wrong_password_is_a_lost_link_that_says_so() -> None:
    """The operator reads whose fault it is."""
    async with plant(server_certificate(), Users()) as rig:
        rig.members |= {"username": "gateway", "password": "file:password"}
        rig.secrets["password"] = b"wrong"
        await is_refused(rig, "[Uu]ser|denied|access")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("ours.der", None, "file:ours.der: there is no such file"),
        ("plant.der", b"rubbish", "file:plant.der: holds no certificate in PEM or DER form"),
        ("ours.pem", b"rubbish", "cannot be reached"),
        ("ours.der", b"nameless", "names no application URI .* `smp-gateway keys generate`"),
    ],
)
async def test_files_that_cannot_be_used_are_named(name: str, data: bytes | None, words: str) -> None:
    """Before anybody is spoken to; a missing file is a lost link, tried again when it may be there."""
    async with plant(server_certificate()) as rig:
        if data is None:
            del rig.secrets[name]
        else:
            rig.secrets[name] = _authority(KEY, "x").public_bytes(DER) if data == b"nameless" else data
        await is_refused(rig, words)


def _authority(key: rsa.RSAPrivateKey, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return _signed(subject, subject, key, key, [x509.BasicConstraints(ca=True, path_length=None)])


def _issued(authority: x509.Certificate, authority_key: rsa.RSAPrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plant")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URI)])
    return _signed(subject, authority.subject, KEY, authority_key, [names]).public_bytes(DER)


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    signer: rsa.RSAPrivateKey,
    extensions: list[x509.ExtensionType],
) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - dt.timedelta(days=1))
    builder = builder.not_valid_after(NOW + dt.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
