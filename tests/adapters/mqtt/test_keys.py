"""The keys of a site that signs: exchanged under way, and never lost to a bad file."""

from __future__ import annotations

import json

import pytest
from joserfc.jwk import ECKey

from adapters.mqtt.keys import SiteKeys
from gateway.core.secret import Reference
from gateway.errors import LinkLost, SecretError
from gateway.ports import Resources
from tests.adapters.modbus.rig import NoEntropy
from tests.contracts.journal.scenario import SECOND, HandClock


class Desk:
    """A file of keys, and what is told of it."""

    def __init__(self, *kids: str) -> None:
        self.clock = HandClock()
        self.events: list[str] = []
        self.reads = 0
        self.file: bytes | None = jwks(*kids)

    def keys(self) -> SiteKeys:
        resources = Resources(
            clock=self.clock, entropy=NoEntropy(), event=lambda name, **_: self.events.append(name), secret=self.secret
        )
        return SiteKeys(resources, Reference(source="file", name="keys"), "depot")

    def secret(self, _: Reference) -> bytes:
        self.reads += 1
        if self.file is None:
            raise SecretError("no such file")
        return self.file


def jwks(*kids: str) -> bytes:
    keys = [ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256"}).as_dict(private=False) for kid in kids]
    return json.dumps({"keys": keys}).encode()


def test_exchanged_keys_count_within_a_second() -> None:
    """The new one is believed, the old one no more, without a new connection; a flood reads the file once a second."""
    desk = Desk("old")
    keys = desk.keys()
    desk.file = jwks("new")
    for _ in range(100):
        assert keys.find("new") is None
    assert desk.reads == 1
    desk.clock.at += SECOND
    assert keys.find("new") is not None
    assert keys.find("old") is None
    assert desk.events == ["renewal_succeeded"]


@pytest.mark.parametrize("file", [None, b"", b'{"keys": "none"}', b"\xff"])
def test_a_bad_file_changes_nothing_and_is_told_at_either_end(file: bytes | None) -> None:
    """The last good keys stay; told once when it begins, once when it ends."""
    desk = Desk("old")
    keys, good = desk.keys(), desk.file
    for now, told in ((file, ["renewal_failed"]), (file, []), (good, ["renewal_succeeded"])):
        desk.file = now
        desk.clock.at += SECOND
        desk.events.clear()
        assert keys.find("old") is not None
        assert desk.events == told


def test_without_keys_nothing_of_the_site_could_be_believed() -> None:
    """At the beginning there is no last good file."""
    desk = Desk("old")
    desk.file = None
    with pytest.raises(LinkLost, match="cannot be read"):
        desk.keys()
