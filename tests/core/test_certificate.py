from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.core.certificate import Certificate, ending, issuer_of, read_certificates
from gateway.core.jwk import thumbprint
from gateway.errors import SecretError

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def made(*hosts: str, subject: str = "host", issuer: str = "authority") -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(KEY.public_key())
        .serial_number(0xC0FFEE)
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + timedelta(days=1))
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([general(host) for host in hosts]), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def read(*hosts: str) -> Certificate:
    (certificate,) = read_certificates(made(*hosts).public_bytes(Encoding.PEM))
    return certificate


@pytest.mark.parametrize(
    ("hosts", "called", "covered"),
    [
        (("gateway.host.test",), "gateway.host.test", True),
        (("Gateway.host.test",), "gateway.HOST.test", True),
        (("gateway.host.test",), "other.host.test", False),
        (("*.host.test",), "gateway.host.test", True),
        (("*.host.test",), "host.test", False),
        (("*.host.test",), "a.gateway.host.test", False),
        (("*.test",), "host.test", False),
        (("192.0.2.1", "2001:db8::1"), "192.0.2.1", True),
        (("2001:db8::1",), "2001:0db8:0::1", True),
        (("192.0.2.1",), "192.0.2.2", False),
        (("*.0.2.1",), "192.0.2.1", False),
        ((), "host", False),
    ],
)
def test_which_hosts_a_certificate_covers(hosts: tuple[str, ...], called: str, *, covered: bool) -> None:
    """Pins names and addresses, one label for a wildcard, and that a common name counts for nothing."""
    assert read(*hosts).covers(called) is covered


def test_a_chain_is_read_beside_a_private_key() -> None:
    """Pins order, issuer, times and the fingerprint, and that a key in the same file leaves no trace."""
    leaf, authority = made("gateway.host.test"), made(subject="authority", issuer="root")
    pem = KEY_PEM + leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
    chain = read_certificates(pem)
    assert [certificate.subject for certificate in chain] == ["CN=host", "CN=authority"]
    assert issuer_of(chain) == chain[1]
    assert issuer_of(chain[:1]) is None
    assert chain[0].sha256.replace(":", "") == leaf.fingerprint(hashes.SHA256()).hex().upper()
    assert (chain[0].serial, chain[0].not_after - chain[0].not_before) == ("c0ffee", 86_400_000_000)
    assert chain[0].not_before == int(BEGIN.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "data", [b"", b"text", KEY_PEM, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_refused_without_a_word_of_it(data: bytes) -> None:
    """Pins the one error for a wrong file, a private key above all."""
    with pytest.raises(SecretError) as refused:
        read_certificates(data)
    assert str(refused.value) == "not a PEM file with readable certificates"


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        (  # RFC 8037 appendix A.3
            {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "any"},
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        ),
        (  # RFC 7638 section 3.1
            {
                "kty": "RSA",
                "n": (
                    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
                    "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
                    "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
                    "kEgU8awapJzKnqDKgw"
                ),
                "e": "AQAB",
                "alg": "RS256",
                "kid": "2011-04-29",
            },
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ),
    ],
    ids=["RFC 8037", "RFC 7638"],
)
def test_thumbprints_are_those_of_the_standards(jwk: dict[str, str], expected: str) -> None:
    """Pins the thumbprint to the published examples, whatever else the key carries."""
    assert thumbprint(jwk) == expected


@pytest.mark.parametrize(
    ("life_days", "left_days", "said"),
    [
        (365, 22, None),
        (365, 20, "CN=host expires on 2026-12-13, in 20 days"),
        (365, 0, "CN=host expired on 2026-11-23"),
        (365, 365.5, "CN=host is not valid yet"),
        (4, 2, None),
        (4, 0.5, "CN=host expires on 2026-11-23, in 0 days"),
    ],
)
def test_an_end_is_told_in_time(life_days: float, left_days: float, said: str | None) -> None:
    """Three weeks before the end, of a short life in its last quarter; afterwards and before its beginning too."""
    day, now = 86_400_000_000, int(BEGIN.timestamp()) * 1_000_000
    end = now + int(left_days * day)
    one = replace(read(), subject="CN=host", not_before=end - int(life_days * day), not_after=end)
    assert ending([one], now) == ([] if said is None else [said])
