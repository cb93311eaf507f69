"""The SMP's public keys as they change: what it publishes now, and what it published a little while ago.

Rules
-----
* One key id means one key. A set that brings another key under a known id replaces the old one at once: two keys are
  never tried under one id, and nothing is kept of the old one.
* A key that is published no more is kept for :data:`OVERLAP_US`, since what it signed may still be under way.
* A set that cannot be read whole changes nothing (:func:`gateway.core.jwk.read_jwks` refuses it).
* What is kept on disk belongs to the address it came from, and is not believed when another one is configured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core import codec, strict_json
from gateway.core.jwk import KeyRecord, jwk_of, public_key_from_jwk
from gateway.errors import SignatureRefused

# Longer than an SMP signs with a key that it withdrew, short enough for one that was withdrawn because it leaked.
OVERLAP_US = 3_600_000_000
LARGEST_SET = 256 * 1024  # bytes; a hundred RSA keys have about 60,000
SHORTEST_LIFE_S = 60.0
USUAL_LIFE_S = 900.0  # where the SMP does not say: a new key is then known before it is an hour old
LONGEST_LIFE_S = 86_400.0
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?([0-9]{1,10})"?(?:$|[\s,])', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A key that is published no more, believed until then (µs UTC)."""

    record: KeyRecord
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The keys of one issuer, by key id; no id stands in both."""

    current: Mapping[str, KeyRecord] = field(default_factory=dict)
    retired: Mapping[str, Retired] = field(default_factory=dict)

    def find(self, key_id: str, now: int) -> KeyRecord | None:
        """The key of this id that may be believed at ``now``, or None."""
        found = self.current.get(key_id)
        if found is not None:
            return found
        retired = self.retired.get(key_id)
        return retired.record if retired is not None and now < retired.until else None

    def renewed(self, published: Mapping[str, KeyRecord], now: int) -> KeySet:
        """What is believed after the SMP published this set."""
        kept = {key_id: old for key_id, old in self.retired.items() if now < old.until}
        gone = {key_id: Retired(record=record, until=now + OVERLAP_US) for key_id, record in self.current.items()}
        return KeySet(
            current=dict(published),
            retired={key_id: old for key_id, old in {**kept, **gone}.items() if key_id not in published},
        )


def life_s(cache_control: str | None) -> float:
    """How long a fetched set counts as fresh (RFC 9111 section 5.2.2.1), between a minute and a day."""
    stated = _MAX_AGE.search(cache_control or "")
    if stated is None:
        return USUAL_LIFE_S
    return min(max(float(stated[1]), SHORTEST_LIFE_S), LONGEST_LIFE_S)


def to_json(keys: KeySet, *, address: str) -> bytes:
    """What is kept on disk: the public keys, and where they came from."""
    return codec.dumps(
        {
            "address": address,
            "keys": [_jwk(record) for record in keys.current.values()],
            "retired": [{"until": old.until, "key": _jwk(old.record)} for old in keys.retired.values()],
        }
    )


def from_json(document: bytes, *, address: str, issuer: str, purpose: str) -> KeySet:
    """Read what :func:`to_json` wrote; nothing is believed of another address.

    Raises:
        StrictJsonError: not JSON that we accept.
        SignatureRefused: not ours, damaged, or kept for another address.
    """
    parsed = strict_json.loads(document, limit=2 * LARGEST_SET)
    if not isinstance(parsed, dict) or parsed.get("address") != address:
        raise SignatureRefused("key", f"the keys kept are not those of {address}")
    current, retired = parsed.get("keys"), parsed.get("retired")
    if not isinstance(current, list) or not isinstance(retired, list):
        raise SignatureRefused("key", "the keys kept have lost their form")
    records = [_record(jwk, issuer, purpose) for jwk in current]
    old = [_retired(entry, issuer, purpose) for entry in retired]
    return KeySet(
        current={record.key_id: record for record in records},
        retired={entry.record.key_id: entry for entry in old},
    )


def _jwk(record: KeyRecord) -> dict[str, str]:
    return jwk_of(record.key, record.key_id, record.algorithm)


def _record(jwk: strict_json.Json, issuer: str, purpose: str) -> KeyRecord:
    if not isinstance(jwk, dict):
        raise SignatureRefused("key", "a key that was kept is not an object")
    return public_key_from_jwk(jwk, issuer=issuer, purpose=purpose)


def _retired(entry: strict_json.Json, issuer: str, purpose: str) -> Retired:
    until = entry.get("until") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(until, int) or isinstance(until, bool):
        raise SignatureRefused("key", "a withdrawn key that was kept has lost its form")
    return Retired(record=_record(entry.get("key"), issuer, purpose), until=until)
