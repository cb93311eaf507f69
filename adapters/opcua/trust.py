"""Whose certificate we accept, and whose we show: pure, from bytes.

Rules
-----
* A certificate is trusted when it is itself in the list, or was issued by one in the list that is a CA.
* It must be valid today and name the application URI of whom it speaks for (OPC 10000-4, 6.1.3).
* Our own application URI is the certificate's: servers compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from gateway.errors import SecretError

_PEM = b"-----BEGIN"
_SECOND = 1_000_000  # µs


def certificates(data: bytes, name: str) -> list[x509.Certificate]:
    """Every certificate of a PEM file, or the one of a DER file.

    Raises:
        SecretError: there is none in it.
    """
    try:
        if data.lstrip().startswith(_PEM):
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError as error:
        raise SecretError(f"{name}: holds no certificate in PEM or DER form") from error


def application_uri(certificate: x509.Certificate, name: str) -> str:
    """The URI that a certificate speaks for.

    Raises:
        SecretError: it names none, so that no server would accept it.
    """
    uris = _uris(certificate)
    if not uris:
        said = "names no application URI (subjectAltName URI); `smp-gateway keys generate` makes one that does"
        raise SecretError(f"{name}: {said}")
    return uris[0]


def certificate_form(data: bytes) -> CertProperties:
    """A certificate or key in the form in which the library takes bytes."""
    return CertProperties(data, "pem" if data.lstrip().startswith(_PEM) else "der")


def user_certificate(data: bytes, name: str) -> x509.Certificate:
    """The certificate of a user.

    Raises:
        SecretError: there is none in it.
    """
    return certificates(data, name)[0]


def user_key(data: bytes, name: str) -> PrivateKeyTypes:
    """The private key of a user.

    Raises:
        SecretError: it is none, or is encrypted.
    """
    try:
        if data.lstrip().startswith(_PEM):
            return serialization.load_pem_private_key(data, password=None)
        return serialization.load_der_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretError(f"{name}: is not an unencrypted private key in PEM or DER form") from error


class Validator:
    """Judges the certificate of the other side, as asyncua's ``certificate_validator``; ``now`` is in µs UTC."""

    def __init__(self, trusted: Sequence[x509.Certificate], now: Callable[[], int]) -> None:
        self._trusted = tuple(trusted)
        self._now = now

    async def __call__(self, certificate: x509.Certificate, description: ua.ApplicationDescription) -> None:
        """Accept a certificate.

        Raises:
            ServiceError: with the status code that says why not.
        """
        if not self.trusts(certificate):
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)
        now = self._now() / _SECOND
        if not certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp():
            raise ServiceError(ua.StatusCodes.BadCertificateTimeInvalid)
        if description.ApplicationUri not in _uris(certificate):
            raise ServiceError(ua.StatusCodes.BadCertificateUriInvalid)

    def trusts(self, certificate: x509.Certificate) -> bool:
        """Whether it is in the list, or a CA of the list signed it."""
        return any(certificate == known or _issued(certificate, known) for known in self._trusted)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if not _is_authority(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
