"""Fetched keys: never hammering, never two requests at once, never waiting for nothing, and the last good set stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import jwt.algorithms
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import KeysUnavailable, SecretError
from gateway.flow.keyring import FLOOR_S, PATIENCE_S, WAITING, FetchedKeys, FiledKeys
from gateway.ports import Published
from tests.flow.virtual import Even, VirtualClock, run


def jwks(*key_ids: str) -> bytes:
    keys = []
    for key_id in key_ids:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        keys.append(
            {**jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True), "kid": key_id, "alg": "ES256", "use": "sig"}
        )
    return json.dumps({"keys": keys}).encode()


@dataclass
class Smp:
    """Publishes ``document`` (or raises it) after ``takes_s``; remembers when it was asked and what was kept."""

    document: bytes | KeysUnavailable
    takes_s: float = 0.0
    asked: list[float] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    address: str = "https://smp.example/keys"

    async def fetch(self) -> Published:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        if isinstance(self.document, KeysUnavailable):
            raise self.document
        return Published(document=self.document, life_s=600.0)

    def load(self) -> bytes | None:
        return self.kept[-1] if self.kept else None

    async def keep(self, document: bytes) -> None:
        self.kept.append(document)


def story(smp: Smp, tell: Callable[[FetchedKeys], Coroutine[None, None, None]]) -> None:
    async def told() -> None:
        keys = ring(smp)
        task = asyncio.create_task(keys.run())
        await tell(keys)
        task.cancel()

    run(told())


def ring(smp: Smp) -> FetchedKeys:
    return FetchedKeys(
        smp,
        smp,
        issuer="test",
        clock=VirtualClock(),
        entropy=Even(),
        event=lambda name, **_: smp.events.append(name),
    )


def test_a_fresh_set_is_fetched_when_the_old_ones_life_ends() -> None:
    """Ten minutes of life: asked at 0, 600, 1200 s, and told and kept only when something changed."""
    smp = Smp(jwks("one"))

    async def tell(keys: FetchedKeys) -> None:
        await asyncio.sleep(1300)
        assert keys.find("one") is not None

    story(smp, tell)
    assert smp.asked == [0.0, 600.0, 1200.0]
    assert (smp.events, len(smp.kept)) == (["keys_changed"], 1)


def test_an_unknown_key_is_looked_for_at_once_but_not_again_within_the_floor() -> None:
    """A rotated key is there after one request; 1,000 invented ids in the floor make one more, when it ends."""
    smp = Smp(jwks("one"), takes_s=1.0)

    async def tell(keys: FetchedKeys) -> None:
        await asyncio.sleep(100)
        smp.document = jwks("two")
        assert await keys.refresh()
        assert keys.find("two") is not None
        for _ in range(1000):
            assert not await keys.refresh()
        await asyncio.sleep(100)

    story(smp, tell)
    assert smp.asked == [0.0, 100.0, 101.0 + FLOOR_S]


def test_a_crowd_waits_for_one_request_and_only_so_many_wait() -> None:
    """Forty callbacks with an unknown key: one request; those beyond the places are refused without waiting."""
    smp = Smp(jwks("one"), takes_s=1.0)

    async def tell(keys: FetchedKeys) -> None:
        await asyncio.sleep(100)
        smp.document = jwks("two")
        answers = await asyncio.gather(*(keys.refresh() for _ in range(40)))
        assert sum(answers) == WAITING

    story(smp, tell)
    assert len(smp.asked) == 2


def test_a_callback_waits_for_a_bounded_time() -> None:
    """The address does not answer: refused after the patience, and the next life goes on."""
    smp = Smp(jwks("one"))

    async def tell(keys: FetchedKeys) -> None:
        await asyncio.sleep(100)
        smp.takes_s = 1e6
        begun = asyncio.get_running_loop().time()
        assert not await keys.refresh()
        assert asyncio.get_running_loop().time() - begun == PATIENCE_S

    story(smp, tell)


@pytest.mark.parametrize(
    "bad", [KeysUnavailable("answers 500"), b"", b"{}", jwks(), jwks("one", "one"), b'{"keys":[],"keys":[]}']
)
def test_what_cannot_be_fetched_or_believed_changes_nothing_and_is_shown(bad: bytes | KeysUnavailable) -> None:
    """The last good set stays; trouble is told once when it begins and once when it ends, pauses grow to 300 s."""
    smp = Smp(jwks("one"))

    async def tell(keys: FetchedKeys) -> None:
        await asyncio.sleep(500)
        good, smp.document = smp.document, bad
        await asyncio.sleep(1000)
        assert keys.find("one") is not None
        (line,) = keys.degraded
        assert line.startswith("callback keys test: ")
        smp.document = good
        await asyncio.sleep(301)
        assert keys.degraded == ()

    story(smp, tell)
    assert smp.events == ["keys_changed", "keys_fetch_failed", "keys_fetch_recovered"]
    assert smp.asked == [0.0, 600.0, 630.0, 690.0, 810.0, 1050.0, 1350.0, 1650.0]


def test_a_restart_without_the_smp_can_still_verify() -> None:
    """What was kept is there before anything was fetched; of another address, or damaged, nothing is."""
    smp = Smp(jwks("one"))

    async def first(_keys: FetchedKeys) -> None:
        await asyncio.sleep(1)

    async def then(keys: FetchedKeys) -> None:
        assert keys.find("one") is not None
        await asyncio.sleep(1)
        assert keys.find("one") is not None

    async def elsewhere(keys: FetchedKeys) -> None:
        assert keys.find("one") is None

    story(smp, first)
    smp.document = KeysUnavailable("away")
    story(smp, then)
    smp.address = "https://other.example/keys"
    story(smp, elsewhere)


def test_a_file_counts_as_it_stands_and_a_bad_one_not_at_all() -> None:
    """Exchanged: the new keys and no others; spoilt: SecretError and the keys stay."""
    content = [jwks("one")]
    keys = FiledKeys(lambda: content[0], issuer="test")
    content[0] = jwks("two")
    assert (keys.renew(), keys.renew()) == (True, False)
    assert keys.find("one") is None
    content[0] = b"{"
    with pytest.raises(SecretError, match="callback keys of test"):
        keys.renew()
    assert keys.find("two") is not None
