"""P2 at CI size: one message's life, killed at each of its commits and sends."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.crash.sweep import kill_at, lives, points

_MOST = 40  # runs


@pytest.fixture(scope="module")
def _strace() -> None:
    if shutil.which("strace") is None:
        reason = "strace is not installed (Debian, Ubuntu: apt-get install strace)"
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.mark.usefixtures("_strace")
def test_no_commit_and_no_send_is_a_special_place_to_die() -> None:
    """Killed at each sync and send, and at as many writes: the journal knows whatever was said, and goes on."""
    with lives() as here:
        everywhere = points(here, "assets")
        calls = [each for each in everywhere if each.call != "pwrite64"]
        writes = [each for each in everywhere if each.call == "pwrite64"]
        room = _MOST - len(calls)
        chosen = [*calls, *writes[:: max(1, -(-len(writes) // room))]]
        assert {"write", "pwrite64", "fdatasync"} <= {each.call for each in chosen}
        assert 10 <= len(chosen) <= _MOST
        assert [fault for point in chosen for fault in kill_at(here, point)] == []
        again = [each for each in points(here, "resent") if each.call == "fdatasync"]  # not processed, doubted, resent
        assert len(again) >= 5
        assert [fault for point in again for fault in kill_at(here, point)] == []
