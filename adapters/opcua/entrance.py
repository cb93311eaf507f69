"""Who may come in to a server of ours, and how many at once.

Rules
-----
* The certificate that counts is the secure channel's, whose key the client has proved to have. The library compares the
  trust list with what the client writes into its request, and with nothing when that is empty.
* With a login configured nobody is anonymous; without one the trust list is the login.
* Nobody is an administrator: no client adds nodes, whatever it calls itself.
* Sessions are counted here: the library counts those of all servers of the process together.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.user_managers import UserManager
from cryptography import x509

from adapters.opcua.trust import Validator

SESSIONS = 20  # of one listener; a client that forgets to close some has room for more
_NOBODY = User(role=UserRole.Anonymous)
_SESSIONS_BEGUN = 50  # connections that asked for one and have not logged in


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A name and its password."""

    username: str
    password: str

    def fits(self, username: str, password: str) -> bool:
        """Whether it is this one; takes the same time wherever they differ."""
        same_name = hmac.compare_digest(username.encode(), self.username.encode())
        return hmac.compare_digest(password.encode(), self.password.encode()) and same_name


class Entrance(UserManager):
    """The door of one listener; without ``trust`` every certificate does, without ``login`` everybody is let in."""

    def __init__(self, trust: Validator | None = None, login: Login | None = None) -> None:
        self.trust = trust
        self._login = login

    @property
    def tokens(self) -> list[type]:
        """How a client may say who it is."""
        return [ua.AnonymousIdentityToken if self._login is None else ua.UserNameIdentityToken]

    def get_user(
        self,
        iserver: InternalServer,  # noqa: ARG002 - the library's own signature
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,  # noqa: ANN401, ARG002 - the same
    ) -> User | None:
        """The user, or None for whoever is not let in."""
        if self._login is None or self._login.fits(username or "", password or ""):
            return User(role=UserRole.User, name=username)
        return None

    def admit(self, certificate: bytes | None) -> None:
        """Let a channel with this certificate (DER) log in.

        Raises:
            ServiceError: it is not trusted, or there is none.
        """
        if self.trust is None:
            return
        try:
            known = certificate is not None and self.trust.trusts(x509.load_der_x509_certificate(certificate))
        except ValueError:
            known = False
        if not known:
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)


class GuardedSession(InternalSession):
    """A session that begins at the entrance."""

    def activate_session(
        self, params: ua.ActivateSessionParameters, peer_certificate: bytes | None
    ) -> ua.ActivateSessionResult:
        """Log in.

        Raises:
            ServiceError: not with this certificate or login, or there are too many sessions already.
        """
        door = self.iserver.user_manager
        if self.external and isinstance(door, Entrance):
            door.admit(peer_certificate)
            others = [each for each in _sessions(self.iserver) if each.is_activated() and each is not self]
            if len(others) >= SESSIONS:
                raise ServiceError(ua.StatusCodes.BadTooManySessions)
        return super().activate_session(params, peer_certificate)


class GuardedServer(InternalServer):
    """A server whose sessions begin at the entrance, and which forgets those that nobody logs in to."""

    def create_session(
        self,
        name: str,
        user: User = _NOBODY,
        external: bool = False,  # noqa: FBT001, FBT002 - the library's own signature
    ) -> InternalSession:
        """Make a session; the oldest that were begun only make room."""
        begun = [each for each in _sessions(self) if not each.is_activated()]
        for old in begun[: max(0, len(begun) - _SESSIONS_BEGUN)]:
            self.unregister_external_session(old)
        return GuardedSession(self, self.aspace, self.subscription_service, name, user=user, external=external)


def _sessions(server: InternalServer) -> list[InternalSession]:
    return list(server._external_sessions.values())  # noqa: SLF001 - it has no other list of them
