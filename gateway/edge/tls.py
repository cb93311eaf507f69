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
        _identify(context, *own)
    return context


def server_context(certificate: Path, key: Path, client_ca: bytes | None = None) -> ssl.SSLContext:
    """Serve with this certificate chain and key; with a ``client_ca`` only clients with a certificate of it get in.

    Raises:
        SecretError: a file is missing, is not PEM, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _identify(context, certificate, key)
    if client_ca is not None:
        try:
            context.load_verify_locations(cadata=client_ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise SecretError(f"the CA of client certificates is not PEM: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _identify(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # an encrypted key must not ask a terminal
    except (OSError, ssl.SSLError) as error:
        raise SecretError(f"cannot use {certificate.name} with {key.name} for TLS: {error}") from error


class ClientIdentity:
    """The certificate that we show as a client, with its key: from two files that may be exchanged.

    New connections of ``context`` show what was read last; ``chain`` is that.
    """

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        """Read both.

        Raises:
            SecretError: see :meth:`renew`.
        """
        self._context = context
        self._files = (certificate, key)
        self._content: tuple[bytes, ...] = ()
        self.chain: tuple[Certificate, ...] = ()
        self.renew()

    def renew(self) -> bool:
        """Read the files again; True when they are others.

        Raises:
            SecretError: a file is missing, is not PEM, or the two do not belong together; the old ones stay.
        """
        content = _contents(self._files)
        if content == self._content:
            return False
        chain = read_certificates(content[0])
        _identify(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *self._files)  # a bad pair would spoil the real one
        _identify(self._context, *self._files)
        self._content, self.chain = content, chain
        return True


def _contents(files: tuple[Path, ...]) -> tuple[bytes, ...]:
    try:
        return tuple(file.read_bytes() for file in files)
    except OSError as error:
        raise SecretError(f"{error.filename}: {error.strerror}") from error


class ServerIdentity:
    """The certificate that a listener shows, with its key: from two files that may be exchanged.

    ``context`` is the one to begin handshakes with, ``chain`` what it shows.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: bytes | None = None) -> None:
        """Read both; with a ``client_ca`` only clients with a certificate of it get in.

        Raises:
            SecretError: see :meth:`renew`.
        """
        self._files = (certificate, key)
        self._client_ca = client_ca
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
        content = _contents(self._files)
        if content == self._content:
            return False
        chain, context = read_certificates(content[0]), server_context(*self._files, self._client_ca)
        self._content, self.chain, self.context = content, chain, context
        self._show(context)
        return True
