"""X.509 certificates as people compare them: names, validity, fingerprint. Trust is TLS's own business, not ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from gateway.errors import SecretError

_US = 1_000_000
_DAY_US = 86_400 * _US
_WARNING_US = 21 * _DAY_US  # time to get another one, on weekdays, from people
_WARNING_SHARE = 4  # of a shorter life; what lives for days is exchanged by machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What one certificate says of itself; times in µs UTC, subject and issuer as RFC 4514 writes them.

    ``hosts`` are its DNS names and addresses (subjectAltName); ``sha256`` is the fingerprint of the whole certificate.
    """

    subject: str
    issuer: str
    serial: str
    hosts: tuple[str, ...]
    not_before: int
    not_after: int
    sha256: str

    def covers(self, host: str) -> bool:
        """Whether a client that calls this host name or address accepts it (RFC 9525 section 6: no common names)."""
        return any(_matches(pattern, host) for pattern in self.hosts)


def read_certificates(pem: bytes) -> tuple[Certificate, ...]:
    """Read every certificate of a PEM file in its order; other blocks, a private key say, are passed over.

    Raises:
        SecretError: there is none, or one cannot be read; the message holds nothing of the file.
    """
    try:
        return tuple(_read(certificate) for certificate in x509.load_pem_x509_certificates(pem))
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise SecretError("not a PEM file with readable certificates") from error


def issuer_of(chain: Sequence[Certificate]) -> Certificate | None:
    """The certificate that issued the first one, where the same file holds it."""
    return next((other for other in chain if other.subject == chain[0].issuer), None)


def ending(chain: Sequence[Certificate], now: int) -> list[str]:
    """A sentence for each certificate that is not valid at ``now`` (µs UTC), or will not be for much longer."""
    return [f"{one.subject} {said}" for one in chain if (said := _end(one, now)) is not None]


def _end(certificate: Certificate, now: int) -> str | None:
    until = datetime.fromtimestamp(certificate.not_after // _US, UTC).strftime("%Y-%m-%d")
    if now < certificate.not_before:
        return "is not valid yet"
    if now >= certificate.not_after:
        return f"expired on {until}"
    left, life = certificate.not_after - now, certificate.not_after - certificate.not_before
    soon = left < min(_WARNING_US, life // _WARNING_SHARE)
    return f"expires on {until}, in {left // _DAY_US} days" if soon else None


def _read(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        hosts=_hosts(certificate),
        not_before=_microseconds(certificate.not_valid_before_utc),
        not_after=_microseconds(certificate.not_valid_after_utc),
        sha256=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _matches(pattern: str, host: str) -> bool:
    pattern, host = pattern.lower(), host.lower()
    if pattern == host:
        return True
    if _is_address(host):
        return _is_address(pattern) and ipaddress.ip_address(pattern) == ipaddress.ip_address(host)
    first, _, rest = host.partition(".")
    return bool(first) and "." in rest and pattern == f"*.{rest}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * _US
