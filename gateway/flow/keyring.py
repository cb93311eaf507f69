"""The SMP's public keys at hand: from a file that may be exchanged, or from an address that is asked now and then.

Rules
-----
* One task asks the address, so that there is never more than one request under way, whoever wants what.
* Between two requests lies :data:`FLOOR_S` at least: key ids are invented by strangers for nothing, and must not make
  us hammer the SMP. An unknown id that comes too early is remembered, and is asked for when the time has come.
* A callback waits for a request only when it names a key that we do not have, for :data:`PATIENCE_S` at most, and
  :data:`WAITING` at a time; a message never waits for one.
* What cannot be fetched, read or believed changes nothing: the last good set stays, and the trouble is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core import jwk, keyset
from gateway.core.jwk import KeyRecord
from gateway.core.keyset import KeySet
from gateway.errors import KeysUnavailable, SecretError, SignatureRefused, StrictJsonError
from gateway.flow.trouble import Trouble
from gateway.ports import Clock, Entropy, KeyShelf, KeySource

FLOOR_S = 30.0
PATIENCE_S = 5.0
WAITING = 16
_LONGEST_PAUSE_S = 300.0  # after failures
PURPOSE = "callback"


class FiledKeys:
    """Keys from a file or another secret reference (ports.KeyRing); what stands there counts, and nothing else."""

    def __init__(self, read: Callable[[], bytes], *, issuer: str) -> None:
        """Read the keys.

        Raises:
            SecretError: see :meth:`renew`.
        """
        self._read = read
        self._issuer = issuer
        self._keys: dict[str, KeyRecord] = {}
        self.renew()

    def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id, or None."""
        return self._keys.get(key_id)

    async def refresh(self) -> bool:
        """Look nowhere: an exchanged file is noticed by itself."""
        return False

    @property
    def degraded(self) -> tuple[str, ...]:
        """Whoever renews it shows what is wrong with the file."""
        return ()

    def renew(self) -> bool:
        """Read the file again; True when its keys are others than before.

        Raises:
            SecretError: it cannot be read, or is not a JWKS with keys that we may use; the keys stay what they were.
        """
        try:
            keys = jwk.read_jwks(self._read(), self._issuer, PURPOSE)
        except (SignatureRefused, StrictJsonError) as error:
            raise SecretError(f"the callback keys of {self._issuer} are not a usable JWKS: {error}") from error
        changed = keys != self._keys
        self._keys = keys
        return changed


class FetchedKeys:
    """Keys that the SMP publishes at an https address (ports.KeyRing)."""

    def __init__(
        self,
        source: KeySource,
        shelf: KeyShelf,
        *,
        issuer: str,
        clock: Clock,
        entropy: Entropy,
        event: Callable[..., None],
    ) -> None:
        """Begin with what was kept on disk, if it is whole and of this address."""
        self._source = source
        self._shelf = shelf
        self._issuer = issuer
        self._clock = clock
        self._entropy = entropy
        self._event = event
        self._trouble = Trouble()
        self._wanted = asyncio.Event()
        self._asked = asyncio.Event()  # set when the request under way has ended; a new one for each request
        self._resting = False
        self._waiting = 0
        self._keys = self._stored = self._kept()

    def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id, or None; one that was withdrawn lately counts."""
        return self._keys.find(key_id, self._clock.now())

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why the keys at hand may be old, and since when."""
        return (self._trouble.line(f"callback keys {self._issuer}"),) if self._trouble.reason else ()

    async def refresh(self) -> bool:
        """See ports.KeyRing."""
        before = self._keys
        self._wanted.set()
        if self._resting or self._waiting >= WAITING:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._asked.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return self._keys is not before

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        failures = 0
        while True:
            life_s = await self._ask()
            self._wanted.clear()  # whoever wanted keys up to here has had this answer
            self._resting = True
            self._asked.set()
            failures = 0 if life_s is not None else failures + 1
            pause = life_s or min(FLOOR_S * 2 ** min(failures - 1, 10), _LONGEST_PAUSE_S)
            await asyncio.sleep(FLOOR_S)
            self._resting = False
            self._asked = asyncio.Event()
            try:
                async with asyncio.timeout(max(pause - FLOOR_S, 0.0) * self._entropy.jitter(0.1)):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> float | None:
        """One request; how long its answer is fresh, or None when there is none to believe."""
        try:
            published = await self._source.fetch()
            records = jwk.read_jwks(published.document, self._issuer, PURPOSE)
            await self._take(self._keys.renewed(records, self._clock.now()))
        except (KeysUnavailable, SignatureRefused, StrictJsonError) as error:
            if self._trouble.begins(str(error), self._clock.now()):
                self._event("keys_fetch_failed", issuer=self._issuer, address=self._source.address, reason=str(error))
            return None
        if self._trouble.ends():
            self._event("keys_fetch_recovered", issuer=self._issuer)
        return published.life_s

    async def _take(self, keys: KeySet) -> None:
        """Use a set from now on, and keep it; it counts also when it cannot be kept."""
        before, self._keys = self._keys, keys
        if keys != before:
            self._event("keys_changed", issuer=self._issuer, current=sorted(keys.current), retired=sorted(keys.retired))
        if keys != self._stored:
            await self._shelf.keep(keyset.to_json(keys, address=self._source.address))
            self._stored = keys

    def _kept(self) -> KeySet:
        document = self._shelf.load()
        if document is None:
            return KeySet()
        try:
            return keyset.from_json(document, address=self._source.address, issuer=self._issuer, purpose=PURPOSE)
        except (SignatureRefused, StrictJsonError) as error:
            self._event("keys_fetch_failed", issuer=self._issuer, address=self._source.address, reason=str(error))
            return KeySet()
