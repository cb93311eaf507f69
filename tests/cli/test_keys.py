import json
import ssl
from pathlib import Path
from typing import Literal

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import KeySet, import_key
from typer.testing import CliRunner

from gateway.cli import keys
from gateway.errors import SecretError
from tests.settings.folder import Folder

KEY_TYPES: dict[str, Literal["EC", "RSA", "OKP"]] = {"ES256": "EC", "PS256": "RSA", "EdDSA": "OKP"}


def state_of(folder: Folder) -> Path:
    return folder.path.resolve()


def members(folder: Folder) -> dict[str, dict[str, str]]:
    document = json.loads((state_of(folder) / "pki" / "participants.jwks.json").read_bytes())
    return {member["kid"]: member for member in document["keys"]}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # its new names (RFC 9864) are not those of the profile
@pytest.mark.parametrize("algorithm", KEY_TYPES)
def test_what_the_key_signs_the_published_key_verifies(folder: Folder, algorithm: str) -> None:
    """Pins that private file and JWKS belong together, by an independent library, for each kind of key."""
    folder.edit("participants/exstor.yaml", "algorithm: ES256", f"algorithm: {algorithm}")
    keys.generate_keys(folder.load())
    pem = (state_of(folder) / "keys" / "exstor.pem").read_bytes()
    token = jws.serialize_compact(
        {"alg": algorithm, "kid": "exstor-2026-11"}, b"payload", import_key(pem, KEY_TYPES[algorithm]), [algorithm]
    )
    published = members(folder)["exstor-2026-11"]
    public = KeySet.import_key_set({"keys": [dict(published)]})
    assert jws.deserialize_compact(token, public, [algorithm]).payload == b"payload"
    assert (published["alg"], published["use"], published["participant"]) == (algorithm, "sig", "exstor")
    assert "d" not in published


def test_private_files_are_private(folder: Folder) -> None:
    """Pins mode 0600 of every private file, PKCS#8 without a password, and that nothing half-written stays."""
    keys.generate_keys(folder.load(), practice=True)
    for name in ("keys/exstor.pem", "keys/exflex.pem", "pki/host.key"):
        file = state_of(folder) / name
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
        serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert not list(state_of(folder).rglob(".*"))


def test_nothing_is_replaced_without_force(folder: Folder) -> None:
    """Pins that a second run keeps every key, and that --force makes new ones under the same ids."""
    keys.generate_keys(folder.load(), practice=True)
    names = ("keys/exstor.pem", "pki/host.key", "pki/host.pem", "pki/host-ca.pem", "pki/participants.jwks.json")
    before = [(state_of(folder) / name).read_bytes() for name in names]
    keys.generate_keys(folder.load(), practice=True)
    assert [(state_of(folder) / name).read_bytes() for name in names] == before
    keys.generate_keys(folder.load(), practice=True, force=True)
    for name, content in zip(names, before, strict=True):
        assert (state_of(folder) / name).read_bytes() != content
    assert set(members(folder)) == {"exstor-2026-11", "exflex-2026-11"}


def test_a_rolled_key_stays_published(folder: Folder) -> None:
    """Pins that a new key id adds a key, so that what the old one signed can still be verified."""
    keys.generate_keys(folder.load())
    folder.edit("participants/exstor.yaml", "keys/exstor.pem", "keys/exstor-2.pem")
    folder.edit("participants/exstor.yaml", "key_id: exstor-2026-11", "key_id: exstor-2026-12")
    keys.generate_keys(folder.load())
    assert set(members(folder)) == {"exstor-2026-11", "exstor-2026-12", "exflex-2026-11"}


def test_practice_certificate_serves_the_public_url(folder: Folder) -> None:
    """Pins that TLS with the practice files works for a client that trusts host-ca.pem, for the configured host."""
    keys.generate_keys(folder.load({"PUBLIC_URL": "https://host.example:8443"}), practice=True)
    pki = state_of(folder) / "pki"
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=pki / "host-ca.pem")
    server.load_cert_chain(pki / "host.pem", pki / "host.key")
    for host in ("host.example", "localhost", "127.0.0.1"):
        assert handshake(client, server, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "other.example")
    certificate = x509.load_pem_x509_certificate((pki / "host.pem").read_bytes())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext, host: str) -> bool:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname=host)
    server = server_context.wrap_bio(up, down, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    return done == {client, server}


def test_a_foreign_key_is_refused(folder: Folder) -> None:
    """Pins that a key file of another kind, or no key at all, is named and never replaced."""
    file = state_of(folder) / "keys" / "exstor.pem"
    file.parent.mkdir()
    file.write_bytes(b"not a key")
    with pytest.raises(SecretError, match="not an unencrypted PEM private key for ES256"):
        keys.generate_keys(folder.load())
    assert file.read_bytes() == b"not a key"


def test_command_prints_what_it_wrote(folder: Folder, tmp_path: Path) -> None:
    """Pins the command: one line per file, exit code 0, and 1 with every problem for a wrong configuration."""
    app = typer.Typer()
    app.add_typer(keys.app, name="keys")
    arguments = [
        "keys",
        "generate",
        str(folder.path / "gateway.yaml"),
        "--state",
        str(tmp_path / "state"),
        "--practice",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    written = {str(path) for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert {line.removeprefix("wrote ") for line in result.output.splitlines()} == written
    folder.edit("gateway.yaml", "50/s", "50")
    assert CliRunner().invoke(app, arguments).exit_code == 1
