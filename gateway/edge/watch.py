"""Noticing that files were exchanged: certificates, their keys, and the SMP's public keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

from watchfiles import awatch

_SETTLE_MS = 500  # a certificate and its key are two files; both should be there when we look
_LONGEST_MS = 2000  # whatever else keeps changing in the same folder


async def changes(files: Collection[Path]) -> AsyncIterator[None]:
    """Yield whenever something changed in the folders of these files; safe to cancel.

    Folders and not files, because files are exchanged by renaming, and Kubernetes exchanges the folder behind a link. A
    folder that does not exist is not watched.
    """
    folders = {folder for file in files for folder in (file.parent, file.resolve().parent) if folder.is_dir()}
    if not folders:
        return
    async for _ in awatch(*folders, recursive=False, watch_filter=None, debounce=_LONGEST_MS, step=_SETTLE_MS):
        yield
