"""TLS contexts: 1.2 or newer, the peer always checked where we are the client."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.edge.tls import ClientIdentity, ServerIdentity, client_context, server_context
from gateway.errors import SecretError


def test_the_client_trusts_exactly_its_ca(authority: trustme.CA) -> None:
    """One CA, host name and certificate checked, nothing below TLS 1.2."""
    context = client_context(authority.cert_pem.bytes())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("pem", [b"no PEM", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_that_is_not_pem_is_a_secret_error(pem: bytes) -> None:
    """Said at the start, in words."""
    with pytest.raises(SecretError, match="CA certificate"):
        client_context(pem)


def test_the_server_needs_a_key_that_belongs_to_its_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    """A good pair serves; a missing file, another key or no PEM is a SecretError that names the files."""
    pair, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    chain, key, wrong = tmp_path / "host.pem", tmp_path / "host.key", tmp_path / "wrong.key"
    pair.cert_chain_pems[0].write_to_path(chain)
    pair.private_key_pem.write_to_path(key)
    other.private_key_pem.write_to_path(wrong)
    assert server_context(chain, key).minimum_version is ssl.TLSVersion.TLSv1_2
    (tmp_path / "empty.key").touch()
    for bad in (wrong, tmp_path / "missing.key", tmp_path / "empty.key"):
        with pytest.raises(SecretError, match=bad.name):
            server_context(chain, bad)


def test_exchanged_files_are_shown_once_they_fit_together(authority: trustme.CA, tmp_path: Path) -> None:
    """A new pair gives a new context; half of one, or an encrypted key, is refused and the old chain stays."""
    chain, key = tmp_path / "host.pem", tmp_path / "host.key"

    def put(pair: trustme.LeafCert) -> None:
        pair.cert_chain_pems[0].write_to_path(chain)
        pair.private_key_pem.write_to_path(key)

    first, second = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.2")
    put(first)
    shown: list[ssl.SSLContext] = []
    identity = ServerIdentity(chain, key)
    identity.shown_by(shown.append)
    assert identity.renew() is False
    second.cert_chain_pems[0].write_to_path(chain)
    encrypted = load_pem_private_key(second.private_key_pem.bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    for bad in (first.private_key_pem.bytes(), encrypted, b""):
        key.write_bytes(bad)
        with pytest.raises(SecretError):
            identity.renew()
    assert [certificate.hosts for certificate in identity.chain] == [("127.0.0.1",)]
    assert shown == []
    put(second)
    assert identity.renew() is True
    assert [certificate.hosts for certificate in identity.chain] == [("127.0.0.2",)]
    assert shown == [identity.context]


def test_a_client_shows_its_certificate_and_an_exchanged_one(authority: trustme.CA, tmp_path: Path) -> None:
    """A listener with a client CA lets in who shows its certificate, and nobody else; a bad exchange spoils nothing."""
    chain, key = tmp_path / "client.pem", tmp_path / "client.key"

    def write(pair: trustme.LeafCert) -> None:
        pair.cert_chain_pems[0].write_to_path(chain)
        pair.private_key_pem.write_to_path(key)

    host = authority.issue_cert("host.example")
    host.cert_chain_pems[0].write_to_path(tmp_path / "host.pem")
    host.private_key_pem.write_to_path(tmp_path / "host.key")
    others = trustme.CA()
    server = server_context(tmp_path / "host.pem", tmp_path / "host.key", others.cert_pem.bytes())
    write(others.issue_cert("gateway.example"))
    shown = client_context(authority.cert_pem.bytes())
    identity = ClientIdentity(shown, chain, key)
    assert handshake(shown, server)
    assert not handshake(client_context(authority.cert_pem.bytes()), server)
    key.write_bytes(b"no key")
    with pytest.raises(SecretError, match=r"client\.key"):
        identity.renew()
    assert handshake(shown, server)
    write(authority.issue_cert("gateway.example"))
    assert identity.renew()
    assert not handshake(shown, server)
    with pytest.raises(SecretError, match="client certificates"):
        server_context(tmp_path / "host.pem", tmp_path / "host.key", b"no PEM")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    """Whether both sides agree; in TLS 1.3 the server's refusal reaches the client after its own half."""
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname="host.example"),
        server.wrap_bio(up, down, server_side=True),
    ]
    done: set[ssl.SSLObject] = set()
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return len(done) == 2
