"""TLS contexts: 1.2 or newer, always with the peer's certificate checked where we are the client."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from gateway.core.certificate import Certificate, read_certificates
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
        context.load_cert_chain(certificate, key, password=lambda: "")  # an encrypted key must not ask a terminal
    except (OSError, ssl.SSLError) as error:
        raise SecretError(f"cannot serve TLS with {certificate.name} and {key.name}: {error}") from error
    return context


class ServerIdentity:
    """The certificate that a listener shows, with its key: from two files that may be exchanged.

    ``context`` is the one to begin handshakes with, ``chain`` what it shows.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both.

        Raises:
            SecretError: see :meth:`renew`.
        """
        self._files = (certificate, key)
        self._content: tuple[bytes, ...] = ()
        self._show: Callable[[ssl.SSLContext], None] = lambda _context: None
        self.chain: tuple[Certificate, ...] = ()
        self.renew()

    def shown_by(self, show: Callable[[ssl.SSLContext], None]) -> None:
        """Tell this listener of each new context."""
        self._show = show

    def renew(self) -> bool:
        """Read the files again; True when there is a new context. A whole new one, so that nothing of the old is shown.

        Raises:
            SecretError: a file is missing, is not PEM, or the two do not belong together; the old one stays.
        """
        try:
            content = tuple(file.read_bytes() for file in self._files)
        except OSError as error:
            raise SecretError(f"{error.filename}: {error.strerror}") from error
        if content == self._content:
            return False
        chain, context = read_certificates(content[0]), server_context(*self._files)
        self._content, self.chain, self.context = content, chain, context
        self._show(context)
        return True
