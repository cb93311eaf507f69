"""Noticing exchanged files by the ways in which they are exchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.edge.watch import changes


def _write(file: Path) -> None:
    file.write_bytes(b"new")


def _rename(file: Path) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(b"new")
    fresh.replace(file)


@pytest.mark.parametrize("exchange", [_write, _rename])
async def test_an_exchanged_file_is_noticed(tmp_path: Path, exchange: Callable[[Path], None]) -> None:
    """Written over or renamed into place; also beside a folder that is not there."""
    file = tmp_path / "host.pem"
    file.write_bytes(b"old")
    async with asyncio.timeout(30):
        noticed = changes([file, tmp_path / "missing" / "file"])
        first = asyncio.ensure_future(anext(noticed))
        while not first.done():  # the watch begins in a thread: exchange until it has begun
            exchange(file)
            await asyncio.wait([first], timeout=0.2)
        await first


async def test_nothing_to_watch_is_no_error(tmp_path: Path) -> None:
    """No files, or no such folder: there are no changes."""
    assert [each async for each in changes([tmp_path / "missing" / "file"])] == []
