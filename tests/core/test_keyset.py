"""Keys as they change at the SMP: rotation with overlap, one key per id, what is kept and for whom."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.core import keyset
from gateway.core.jwk import KeyRecord
from gateway.core.keyset import OVERLAP_US, KeySet, life_s
from gateway.errors import SignatureRefused, StrictJsonError

NOW = 1_795_000_000_000_000
ADDRESS = "https://smp.example/keys"


def record(key_id: str) -> KeyRecord:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return KeyRecord(key_id=key_id, algorithm="ES256", key=key, issuer="test", purpose="callback")


OLD, NEW = record("old"), record("new")


def test_a_withdrawn_key_is_believed_for_the_overlap_and_no_longer() -> None:
    """Rotation: both are found at once, the old one until the overlap ends; another rotation does not prolong it."""
    keys = KeySet().renewed({"old": OLD}, NOW).renewed({"new": NEW}, NOW)
    keys = keys.renewed({"new": NEW}, NOW + 1)
    assert keys.find("new", NOW) == NEW
    assert keys.find("old", NOW + OVERLAP_US - 1) == OLD
    assert keys.find("old", NOW + OVERLAP_US) is None
    assert not keys.renewed({"new": NEW}, NOW + OVERLAP_US).retired


def test_one_id_is_one_key() -> None:
    """Another key under a known id replaces it at once, also one that was withdrawn; the old one is not tried again."""
    other = record("old")
    keys = KeySet().renewed({"old": OLD}, NOW).renewed({"old": other}, NOW)
    assert keys.find("old", NOW) == other
    again = KeySet().renewed({"old": OLD}, NOW).renewed({"new": NEW}, NOW).renewed({"old": other}, NOW)
    assert (again.find("old", NOW), "old" in again.retired) == (other, False)


def test_what_is_kept_is_read_back_and_only_for_its_address() -> None:
    """The same keys, withdrawn ones with their end; another address, damage or a private key is refused."""
    keys = KeySet().renewed({"old": OLD}, NOW).renewed({"new": NEW}, NOW)
    kept = keyset.to_json(keys, address=ADDRESS)
    assert keyset.from_json(kept, address=ADDRESS, issuer="test", purpose="callback") == keys
    with pytest.raises(SignatureRefused):
        keyset.from_json(kept, address="https://other.example/keys", issuer="test", purpose="callback")
    for spoilt in (
        b"",
        b"[]",
        kept[:-1],
        kept.replace(b'"until":', b'"since":'),
        kept.replace(b'"crv"', b'"d":"AA","x5"'),
    ):
        with pytest.raises((SignatureRefused, StrictJsonError)):
            keyset.from_json(spoilt, address=ADDRESS, issuer="test", purpose="callback")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 900.0),
        ("", 900.0),
        ("no-cache", 900.0),
        ("max-age=600", 600.0),
        ("public, MAX-AGE=3600, immutable", 3600.0),
        ("max-age=0", 60.0),
        ("max-age=99999999", 86400.0),
        ("s-maxage=7200", 900.0),
        ("max-age=-1", 900.0),
        ("max-age=99999999999999999999", 900.0),
    ],
)
def test_life_is_what_the_smp_says_within_bounds(header: str | None, seconds: float) -> None:
    """Cache-Control's max-age between a minute and a day; a quarter of an hour where it says nothing sensible."""
    assert life_s(header) == seconds
