"""Fetching the SMP's public keys over https, and keeping the last good set on disk."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from gateway.core.keyset import LARGEST_SET, life_s
from gateway.errors import KeysUnavailable
from gateway.ports import Published

_PATIENCE_S = 5.0


@asynccontextmanager
async def key_source(address: str, tls: ssl.SSLContext, proxy: str | None = None) -> AsyncIterator[HttpsKeys]:
    """Open a way to one address, with the environment's own TLS and proxy; leaving closes it."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=1, force_close=True),
        proxy=proxy,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
    ) as session:
        yield HttpsKeys(session, address)


class HttpsKeys:
    """A JWKS at an https address (ports.KeySource): no redirects, no compression, bounded in size and time."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.address = address
        self._session = session

    async def fetch(self) -> Published:
        """See ports.KeySource."""
        try:
            async with self._session.get(
                self.address, headers={"Accept": "application/jwk-set+json, application/json"}, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise KeysUnavailable(f"{self.address} answers {response.status}")
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise KeysUnavailable(f"{self.address} answers compressed, which was not asked for")
                return Published(
                    document=await self._read(response), life_s=life_s(response.headers.get("Cache-Control"))
                )
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, ValueError) as error:
            raise KeysUnavailable(f"{self.address}: {type(error).__name__} {error}".rstrip()) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        document = bytearray()
        async for chunk in response.content.iter_any():
            document += chunk
            if len(document) > LARGEST_SET:
                raise KeysUnavailable(f"{self.address} answers more than {LARGEST_SET} bytes")
        return bytes(document)


class DiskShelf:
    """One file in the state folder (ports.KeyShelf), readable by its owner only: whoever can write it is believed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """What was kept, or None when nothing can be read there."""
        try:
            with self._path.open("rb") as stream:
                return stream.read(2 * LARGEST_SET + 1)
        except OSError:
            return None

    async def keep(self, document: bytes) -> None:
        """See ports.KeyShelf."""
        try:
            await asyncio.to_thread(_write, self._path, document)
        except OSError as error:
            raise KeysUnavailable(f"the callback keys cannot be kept in {self._path}: {error.strerror}") from error


def _write(path: Path, document: bytes) -> None:
    """Put a file in place as a whole, on disk."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(document)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
