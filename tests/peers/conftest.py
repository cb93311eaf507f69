"""Independent third-party programs: without its peer a test is skipped with the reason, or fails if peers are required.

`REQUIRE_PEERS=1` is set by CI, so that a missing peer is never a silent pass there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent


def _absent(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def node(peer: Callable[[str], str]) -> str:
    """Node.js, with the packages of this folder."""
    found = peer("node")
    if not (HERE / "node_modules" / "node-opcua-server").is_dir():
        _absent("node-opcua is not installed (cd tests/peers && npm ci)")
    return found


@pytest.fixture
def modbus_serial(peer: Callable[[str], str]) -> str:
    """Node.js, with modbus-serial beside it."""
    found = peer("node")
    if not (HERE / "node_modules" / "modbus-serial").is_dir():
        _absent("modbus-serial is not installed (cd tests/peers && npm ci)")
    return found


@pytest.fixture
def peer() -> Callable[[str], str]:
    """Find a program: `peer("mbpoll")` is its path."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        reason = f"{name} is not installed (Debian, Ubuntu: apt-get install {name})"
        _absent(reason)

    return find
