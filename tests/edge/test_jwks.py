"""Fetching public keys: exact bytes from one address within bounds, and a file that is whole or not there."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.core.keyset import LARGEST_SET
from gateway.edge.jwks import DiskShelf, key_source
from gateway.edge.tls import client_context
from gateway.errors import KeysUnavailable
from gateway.ports import Published
from tests.edge.wire import raw_server, tunnel

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


async def fetch(authority: trustme.CA, answer: bytes, *, trust: ssl.SSLContext | None = None) -> Published:
    async with raw_server(authority, answer) as smp:
        tls = trust or client_context(authority.cert_pem.bytes())
        async with key_source(f"https://127.0.0.1:{smp.port}/keys", tls) as source:
            return await source.fetch()


async def test_the_set_comes_as_it_is_with_its_life(authority: trustme.CA) -> None:
    """The exact bytes, and Cache-Control's life."""
    answer = OK + b"Cache-Control: max-age=120\r\n\r\n{}"
    assert await fetch(authority, answer) == Published(document=b"{}", life_s=120.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answers 500"),
        (OK + b"Content-Encoding: gzip\r\n\r\n{}", "compressed"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (LARGEST_SET + 1), "more than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "ClientPayloadError"),
        (b"nonsense\r\n\r\n", "https://127.0.0.1"),
        (b"", "https://127.0.0.1"),
    ],
    ids=["redirect", "error", "compressed", "too large", "cut", "nonsense", "nothing"],
)
async def test_anything_else_is_no_set(authority: trustme.CA, answer: bytes, said: str) -> None:
    """Redirects are not followed, nothing is decompressed, nothing endless is read; the error names the address."""
    with pytest.raises(KeysUnavailable, match=said):
        await fetch(authority, answer)


async def test_the_set_comes_through_the_proxy(authority: trustme.CA) -> None:
    """The proxy is asked for the address's host and port, and the set is whole."""
    async with raw_server(authority, OK + b"\r\n{}") as smp, tunnel() as proxy:
        tls, through = client_context(authority.cert_pem.bytes()), f"http://127.0.0.1:{proxy.port}"
        async with key_source(f"https://127.0.0.1:{smp.port}/keys", tls, through) as source:
            assert (await source.fetch()).document == b"{}"
    assert len(proxy.heads) == 1


async def test_only_the_configured_authority_is_believed(authority: trustme.CA) -> None:
    """A server with a certificate from elsewhere publishes nothing for us."""
    with pytest.raises(KeysUnavailable, match="certificate"):
        await fetch(authority, OK + b"\r\n{}", trust=client_context(trustme.CA().cert_pem.bytes()))


async def test_what_is_kept_is_whole_private_and_replaced(tmp_path: Path) -> None:
    """The last one stands, only its owner can read or write it; where it cannot be written it is said."""
    shelf = DiskShelf(tmp_path / "keys" / "test.json")
    assert shelf.load() is None
    for document in (b"one", b"two"):
        await shelf.keep(document)
    assert shelf.load() == b"two"
    (file,) = (tmp_path / "keys").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeysUnavailable, match="cannot be kept"):
        await DiskShelf(file / "below").keep(b"")
