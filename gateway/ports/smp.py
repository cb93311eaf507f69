"""The SMP's side: requests, keys and callbacks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.jws import KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one HTTP attempt brought.

    ``handed_over`` is False only when no byte can have reached the SMP (DNS, connect, TLS, waiting for a connection).
    ``status`` is None when no readable answer came, and ``failure`` then says why. ``retry_after`` is in
    seconds. ``signature`` is the value of the answer's signature header. ``sent_at`` is when the last byte of the
    request was written, ``date_at`` what the answer's `Date` header says.
    """

    handed_over: bool
    status: int | None = None
    body: bytes = b""
    signature: str | None = None
    retry_after: float | None = None
    failure: str = ""
    sent_at: int | None = None
    answered_at: int | None = None
    date_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCall:
    """One signed request as it leaves: ``body`` and ``signature`` (the header's value) are in the wire's form.

    ``url`` is what was signed for, ``jti`` the signature's id, and ``token`` the signature in detached form, as it is
    kept whatever the wire's form is. An empty body is none.
    """

    method: str
    url: str
    body: bytes
    signature: str | None
    jti: str
    token: str
    message_id: str


class Transport(Protocol):
    """One environment of the SMP, for one participant. One call is one attempt; it never raises for the network."""

    async def submit(self, call: SignedCall, bearer: str) -> Reply:
        """Make a signed request with this bearer token; cancelling leaves it unknown whether the SMP has it."""

    async def login(self, username: str, password: str) -> Reply:
        """POST the login; safe to cancel."""


class Signer(Protocol):
    """One private key for one purpose."""

    @property
    def key_id(self) -> str:
        """The ``kid`` of the protected header."""

    @property
    def algorithm(self) -> str:
        """The JWS ``alg``, such as ES256."""

    @property
    def public_jwk(self) -> Mapping[str, str]:
        """The public half as a JSON Web Key."""

    def sign(self, data: bytes) -> bytes:
        """The raw JWS signature (RFC 7518: for ES256 r and s, 32 bytes each).

        Raises:
            SigningFailed: the key, or the device that holds it, does not sign now.
        """


class KeyRing(Protocol):
    """The public keys we trust; the record, never the header, says algorithm, issuer and purpose."""

    def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id, or None."""

    async def refresh(self) -> bool:
        """Look for keys that are new at their source, where it may be asked now; True when there are other keys.

        Bounded in time, and in how often the source is asked, whoever calls how often; safe to cancel.
        """

    @property
    def degraded(self) -> tuple[str, ...]:
        """What does not work now, for `/readyz`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A set of public keys as its issuer publishes it, and for how many seconds it counts as fresh."""

    document: bytes
    life_s: float


class KeySource(Protocol):
    """Where an issuer publishes its keys. One call is one attempt."""

    @property
    def address(self) -> str:
        """Its https URL."""

    async def fetch(self) -> Published:
        """Ask for the set; safe to cancel.

        Raises:
            KeysUnavailable: it did not come, or not in the size and time that a set of keys may take.
        """


class KeyShelf(Protocol):
    """Where the last good set is kept, so that a restart without the SMP can still verify."""

    def load(self) -> bytes | None:
        """What was kept, or None when there is nothing."""

    async def keep(self, document: bytes) -> None:
        """Put it on disk as a whole.

        Raises:
            KeysUnavailable: it could not be written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReply:
    """What the callback server answers."""

    status: int
    body: Mapping[str, Any]
    retry_after: int | None = None


# (participant of the path, body bytes, signature header or None, time of the body's last byte) -> reply
CallbackHandler = Callable[[str, bytes, str | None, int], Awaitable[CallbackReply]]
