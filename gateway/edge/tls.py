"""TLS contexts: 1.2 or newer, always with the peer's certificate checked where we are the client."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.errors import SecretError


def client_context(ca_pem: bytes | None, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Trust exactly this CA, or the system's CAs without one; show our ``own`` certificate, with its key, if asked.

    Raises:
        SecretError: the CA is not PEM, or our certificate and key cannot be used.
    """
    try:
        context = ssl.create_default_context(cadata=ca_pem.decode("ascii") if ca_pem else None)
    except (ssl.SSLError, ValueError) as error:
        raise SecretError(f"the CA certificate is not PEM: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if own is not None:
        certificate, key = own
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise SecretError(f"cannot show {certificate.name} with {key.name}: {error}") from error
    return context


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Serve with this certificate chain and key.

    Raises:
        SecretError: a file is missing, is not PEM, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SecretError(f"cannot serve TLS with {certificate.name} and {key.name}: {error}") from error
    return context
