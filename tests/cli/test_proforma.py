from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from joserfc.jwk import import_key
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from gateway.cli import keys
from gateway.cli.certificates import practice_certificates
from gateway.cli.proforma import proforma
from gateway.cli.proforma.document import TLS_VERSIONS
from gateway.core.certificate import read_certificates
from gateway.edge.tls import client_context
from tests.settings.folder import Folder

HOST = "gateway.host.test"
PUBLIC_URL, SMP_URL = f"https://{HOST}:8443", "https://smp.test/api"
PASSWORD = "correct horse battery staple"
DEVELOPER = '{role: "developer | on call", name: A <b>Person</b>, email: smp@host.test, phone: +44 1632 960000}'

app = typer.Typer()
app.command()(proforma)


def run(folder: Folder, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(folder.path / "gateway.yaml"), *(arguments or ("exstor",))])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def document(folder: Folder) -> dict[str, Any]:
    code, output = run(folder, "exstor", "--json")
    made: dict[str, Any] = json.loads(output)
    assert made["complete"] is (code == 0)
    return made


def missing(folder: Folder) -> list[str]:
    here = str(folder.path.resolve())
    return [entry["what"].replace(here, "") for entry in document(folder)["missing"]]


@pytest.fixture
def complete(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A configuration with everything that a pro-forma asks for."""
    monkeypatch.setenv("PUBLIC_URL", PUBLIC_URL)
    monkeypatch.setenv("SMP_URL", SMP_URL)
    folder.edit("gateway.yaml", "participants: part", f"contacts: [{DEVELOPER}]\nparticipants: part")
    folder.edit("participants/exstor.yaml", "login:", "contacts: [{name: Desk, email: desk@exstor.test}]\nlogin:")
    keys.generate_keys(folder.load({"PUBLIC_URL": PUBLIC_URL}), practice=True)
    pki = folder.path / "pki"
    (pki / "smp-ca.pem").write_bytes((pki / "host-ca.pem").read_bytes())
    jwk = import_key(pem_of(ec.generate_private_key(ec.SECP256R1())), "EC").as_dict(private=False)
    (pki / "smp.jwks.json").write_text(json.dumps({"keys": [{**jwk, "kid": "smp-1", "alg": "ES256"}]}))
    (folder.path / "secrets").mkdir()
    (folder.path / "secrets" / "exstor.password").write_text(PASSWORD)
    return folder


def pem_of(key: PrivateKeyTypes, passphrase: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_the_example_lists_what_is_missing_and_invents_nothing(folder: Folder) -> None:
    """Pins that nothing is made up for a configuration without people, keys, certificates or real addresses."""
    made = document(folder)
    assert missing(folder) == [
        "contacts of the host's developers",
        "contacts at Example Storage Ltd",
        "the SMP's address: https://smp.example/api is an example's",
        "the CA of the SMP's certificate: file:/pki/smp-ca.pem: No such file or directory",
        "an address that NGESO can reach: https://host.example:8443 is an example's, or this machine's own",
        "the TLS certificate of the callback endpoint: file:/pki/host.pem: No such file or directory",
        "the public signing key: file:/keys/exstor.pem: No such file or directory",
        "the SMP's public keys for callbacks: file:/pki/smp.jwks.json: No such file or directory",
    ]
    assert made["contacts"] == made["smp"]["authorities"] == []
    assert made["callbacks"]["certificate"] is made["signing"]["public_key"] is None
    assert made["callbacks"]["trusted_keys"] == {}
    code, output = run(folder)
    assert code == 1
    for entry in made["missing"]:
        assert entry["mend"] in output


def test_the_advice_mends(folder: Folder) -> None:
    """Pins that the command named for a missing key is one that makes it, with the state folder of this call."""
    state = folder.path / "a state"
    _, output = run(folder, "exstor", "--json", "--state", str(state))
    (advice,) = [e["mend"] for e in json.loads(output)["missing"] if e["what"].startswith("the public signing key")]
    gateway = folder.path / "gateway.yaml"
    assert advice == f"smp-gateway keys generate {gateway} --state '{state}'"
    keys.generate_keys(folder.load(state=state))
    _, output = run(folder, "exstor", "--json", "--state", str(state))
    assert not [e for e in json.loads(output)["missing"] if "signing key" in e["what"]]


def test_a_complete_proforma_says_what_the_configuration_says(complete: Folder) -> None:
    """Pins addresses, calls, signature, trust and limits, and exit code 0."""
    made = document(complete)
    assert made["missing"] == []
    assert (made["participant"], made["name"], made["environment"]) == ("exstor", "Example Storage Ltd", "test")
    assert [(who["of"], who["email"]) for who in made["contacts"]] == [
        ("host", "smp@host.test"),
        ("participant", "desk@exstor.test"),
    ]
    assert [(call["call"], call["url"], call["signed"]) for call in made["smp"]["calls"]] == [
        ("authenticate", f"{SMP_URL}/authenticate", False),
        ("assets", f"{SMP_URL}/assets", True),
        ("units", f"{SMP_URL}/units", True),
        ("status", f"{SMP_URL}/transactions/status", True),
    ]
    callbacks, signing = made["callbacks"], made["signing"]
    assert callbacks["url"] == f"{PUBLIC_URL}/smp/v1/callbacks/exstor"
    assert (callbacks["trusted_keys"], callbacks["clock_tolerance_s"]) == ({"smp-1": "ES256"}, 300)
    assert (signing["form"], signing["algorithm"], signing["key_id"]) == ("detached", "ES256", "exstor-2026-11")
    assert (signing["typ"], callbacks["signature_typ"]) == ("smp-request+jws", "smp-callback+jws")
    assert signing["critical"] == ["iat", "jti", "aud"]
    assets, unit = made["messages"]
    assert (assets["limits"], unit["limits"]) == ({"assets": 1000}, {"units": 1, "aligned_assets": 1000})
    assert assets["made_by"] == [
        "hams-bess/battery",
        "solent-bess/battery",
        "solent-bess/extension",
        "wight-bess/battery",
    ]
    assert unit["made_by"] == ["hams-bess/hams-1", "wight-bess/wight-1"]


def test_further_kinds_of_the_profile_are_told(complete: Folder) -> None:
    """Pins a further kind's address, limit and messages beside assets and units."""
    kind = "kinds: {tender: {path: /tenders, method: PUT, action: bid, payload: bid, deduplicated: false"
    kind += ", request_bytes: 900, schema: {type: object}}}"
    complete.edit("profiles/smp-v1.yaml", "limits:", f"{kind}\n\nlimits:")
    message = "messages:\n  bid: {kind: tender, when: {mailbox: plc, kind: 9}, content: {mw: 1}}\n"
    complete.edit("sites/hams-bess.yaml", "messages:\n", message)
    made = document(complete)
    assert made["smp"]["calls"][-1] == {"call": "tender", "method": "PUT", "url": f"{SMP_URL}/tenders", "signed": True}
    assert made["messages"][-1] == {
        "kind": "tender",
        "action": "bid",
        "limits": {"bytes": 900},
        "made_by": ["hams-bess/bid"],
    }


def test_fingerprints_are_those_that_others_compute(complete: Folder) -> None:
    """Pins the certificate's SHA-256 over its DER, and its names, against the standard library's reading."""
    file = complete.path / "pki" / "host.pem"
    entry = document(complete)["callbacks"]["certificate"]
    der = ssl.PEM_cert_to_DER_cert(file.read_text())
    assert entry["sha256"].replace(":", "").lower() == hashlib.sha256(der).hexdigest()
    assert entry["hosts"] == [HOST, "localhost", "127.0.0.1", "::1"]
    assert (entry["issuer"], entry["issuer_sha256"]) == ("CN=SMP gateway practice authority", None)
    authority = complete.path / "pki" / "host-ca.pem"
    file.write_text(file.read_text() + authority.read_text())
    der = ssl.PEM_cert_to_DER_cert(authority.read_text())
    entry = document(complete)["callbacks"]["certificate"]
    assert entry["issuer_sha256"].replace(":", "").lower() == hashlib.sha256(der).hexdigest()


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # its new names (RFC 9864) are not those of the profile
@pytest.mark.parametrize(
    ("algorithm", "key_type"), [("ES256", "EC"), ("PS256", "RSA"), ("RS256", "RSA"), ("EdDSA", "OKP")]
)
def test_public_halves_only(complete: Folder, algorithm: str, key_type: Literal["EC", "RSA", "OKP"]) -> None:
    """Pins JWK, PEM and thumbprint by another library, and that nothing private is printed in either form."""
    complete.edit("participants/exstor.yaml", "algorithm: ES256", f"algorithm: {algorithm}")
    file = complete.path / "keys" / "exstor.pem"
    file.unlink()
    keys.generate_keys(complete.load())
    host = complete.path / "pki" / "host.pem"  # some keep the key beside the certificate
    host.write_bytes((complete.path / "pki" / "host.key").read_bytes() + host.read_bytes())
    code, output = run(complete)
    assert code == 0
    public = document(complete)["signing"]["public_key"]
    assert import_key(public["jwk"], key_type).thumbprint() == public["thumbprint"]
    private = load_pem_private_key(file.read_bytes(), password=None)
    assert load_pem_public_key(public["pem"].encode()) == private.public_key()
    assert import_key(public["pem"], key_type).thumbprint() == public["thumbprint"]
    assert public["pem"] in output
    secrets = import_key(file.read_bytes(), key_type).as_dict(private=True)
    kept = [str(secrets[name]) for name in ("d", "p", "q", "dp", "dq", "qi") if name in secrets]
    kept += [line for name in ("keys/exstor.pem", "pki/host.key") for line in key_lines(complete.path / name)]
    for text in (output, run(complete, "exstor", "--json")[1]):
        assert not [secret for secret in (*kept, PASSWORD, "PRIVATE") if secret in text]


def key_lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if "-----" not in line]


def host_certificate(folder: Folder, host: str, *, days: int) -> None:
    made = practice_certificates((host,), now=datetime.fromtimestamp(time.time(), tz=UTC) + timedelta(days=days))
    (folder.path / "pki" / "host.pem").write_bytes(made.certificate)


@pytest.mark.parametrize(
    ("host", "days", "said"),
    [
        (HOST, -366, r"endpoint: CN=SMP gateway \(practice\) expired at 20..-..-..T..:..:..Z$"),
        (HOST, 1, r"endpoint: CN=SMP gateway \(practice\) is not valid before 20..-..-..T..:..:..Z$"),
        ("other.host.test", 0, rf"^a TLS certificate for {HOST}: the one that is there is for other.host.test$"),
    ],
)
def test_a_certificate_that_would_not_do_is_missing(complete: Folder, host: str, days: int, said: str) -> None:
    """Pins that an expired, early or foreign certificate is told, and shown all the same."""
    host_certificate(complete, host, days=days)
    (told,) = missing(complete)
    assert re.search(said, told)
    assert document(complete)["callbacks"]["certificate"]["hosts"] == [host]


UNUSABLE: dict[str, Callable[[], bytes]] = {
    "not an unencrypted PEM private key": lambda: b"no key at all",
    "not an unencrypted PEM private key ": lambda: pem_of(ec.generate_private_key(ec.SECP256R1()), b"passphrase"),
    "key: key 'exstor-2026-11' is not on the curve P-256": lambda: pem_of(ec.generate_private_key(ec.SECP384R1())),
    "key: key 'exstor-2026-11' is not one for 'ES256'": lambda: pem_of(rsa.generate_private_key(65537, 2048)),
}


@pytest.mark.parametrize("said", UNUSABLE)
def test_an_unusable_key_is_missing(complete: Folder, said: str) -> None:
    """Pins that a key of another kind is told in one line, which never advises what would replace it."""
    (complete.path / "keys" / "exstor.pem").write_bytes(UNUSABLE[said]())
    made = document(complete)
    assert missing(complete) == [f"the public signing key: file:/keys/exstor.pem: {said.strip()}"]
    assert made["signing"]["public_key"] is None
    assert "generate" not in made["missing"][0]["mend"]


def test_the_certificate_that_the_smp_is_shown_is_printed_or_missing(complete: Folder) -> None:
    """Pins that NGESO is told the client certificate's fingerprint where one is configured."""
    lines = "certificate: file:pki/client.pem\n    key: file:pki/client.key\n    rate_limit"
    complete.edit("gateway.yaml", "rate_limit", lines)
    (told,) = missing(complete)
    assert told.startswith("the TLS certificate that the SMP is shown: file:/pki/client.pem:")
    keys.generate_keys(complete.load({"PUBLIC_URL": PUBLIC_URL}), practice=True)
    assert missing(complete) == []
    (certificate,) = read_certificates((complete.path / "pki" / "client.pem").read_bytes())
    assert document(complete)["smp"]["client_certificate"]["sha256"] == certificate.sha256
    assert certificate.sha256 in run(complete, "exstor")[1]


@pytest.mark.parametrize("url", ["https://localhost:8443", "https://127.0.0.1:8443", "https://[::1]:8443"])
def test_an_address_of_this_machine_is_no_endpoint(complete: Folder, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Pins that an address which NGESO cannot reach is told, although a certificate covers it."""
    monkeypatch.setenv("PUBLIC_URL", url)
    (told,) = missing(complete)
    assert told.startswith(f"an address that NGESO can reach: {url} ")


def test_markdown_renders_whatever_the_yaml_says(complete: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins headings, tables and code of the rendered document, with names that try to change them."""
    monkeypatch.setenv("SMP_URL", "https://smp.test/a|pi")
    complete.edit("participants/exstor.yaml", "name: Example Storage Ltd", r'name: "*E* | <i>\n# `S` &amp; Co"')
    complete.edit("participants/exstor.yaml", "key_id: exstor-2026-11", 'key_id: "a`|`b"')
    _, output = run(complete)
    tokens = MarkdownIt("commonmark").enable("table").parse(output)
    titles = [tokens[n + 1] for n, token in enumerate(tokens) if token.type == "heading_open"]
    texts = ["".join(child.content for child in title.children or ()) for title in titles]
    assert texts == [
        "Technical pro-forma: *E* | <i> # `S` &amp; Co",
        "Participant",
        "Contacts",
        "Calls to the SMP",
        "Callbacks from the SMP",
        "Signature of requests",
        "Messages and limits",
        "Missing",
    ]
    rows: list[list[str]] = []
    for number, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in {"th_open", "td_open"}:
            rows[-1].append("".join(child.content for child in tokens[number + 1].children or ()))
    assert [len(row) for row in rows] == [5] * 3 + [4] * 5 + [4] * 3
    assert rows[1] == ["host", "developer | on call", "A <b>Person</b>", "smp@host.test", "+44 1632 960000"]
    assert rows[4] == ["authenticate", "POST", "https://smp.test/a|pi/authenticate", "no"]
    assert not [child for token in tokens for child in token.children or () if child.type == "html_inline"]
    codes = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    assert "a`|`b" in codes
    assert f"{PUBLIC_URL}/smp/v1/callbacks/exstor" in codes
    assert [token.info for token in tokens if token.type == "fence"] == ["json", "text"]


def test_an_unknown_participant_ends_with_2(folder: Folder) -> None:
    """Pins that a slip of the pen is wrong usage, and that the likely name is offered."""
    code, output = run(folder, "exstro")
    assert code == 2
    assert "there is no participant 'exstro'; did you mean 'exstor'?" in output


def test_the_tls_versions_are_those_in_use() -> None:
    """Pins the versions told to NGESO against the contexts that the gateway speaks with."""
    context = client_context(None)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert TLS_VERSIONS == ("TLS 1.2", "TLS 1.3")
