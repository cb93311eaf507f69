"""The SMP client: one call is one attempt, nothing is raised for the network, and `handed_over` never lies."""

from __future__ import annotations

import socket

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.profile import Profile
from gateway.edge.clock import SystemClock
from gateway.edge.smp import _retry_after, smp_client
from gateway.edge.tls import client_context
from gateway.ports import Reply, SignedCall
from tests.edge.wire import raw_server, tunnel

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


def call(port: int, method: str = "POST") -> SignedCall:
    return SignedCall(
        method=method,
        url=f"https://127.0.0.1:{port}/assets",
        body=b"" if method == "GET" else b"{}",
        signature="head..tail",
        jti="jti",
        token="head..tail",
        message_id="id-1",
    )


async def submit(profile: Profile, authority: trustme.CA, port: int, proxy: str | None = None) -> Reply:
    tls = client_context(authority.cert_pem.bytes())
    async with smp_client(f"https://127.0.0.1:{port}", profile, tls, SystemClock(), proxy) as client:
        return await client.submit(call(port), "token")


async def test_an_answer_comes_back_whole(profile: Profile, authority: trustme.CA) -> None:
    """Status and exact bytes; the request carries the profile's headers and none of the library's own marks."""
    async with raw_server(authority, OK) as raw:
        reply = await submit(profile, authority, raw.port)
    assert (reply.handed_over, reply.status, reply.body) == (True, 202, b"{}")
    assert reply.sent_at is not None
    assert reply.answered_at is not None
    assert reply.sent_at <= reply.answered_at
    head = raw.requests[0].decode().lower()
    for line in ("authorization: bearer token", "x-message-id: id-1", "x-jws-signature: head..tail"):
        assert line in head
    assert "user-agent" not in head
    assert "accept-encoding" not in head


async def test_a_proxy_leads_there_and_sees_nothing(profile: Profile, authority: trustme.CA) -> None:
    """It is asked for the SMP's host and port only; the request with its token arrives through TLS."""
    async with raw_server(authority, OK) as raw, tunnel() as proxy:
        reply = await submit(profile, authority, raw.port, f"http://127.0.0.1:{proxy.port}")
    assert (reply.handed_over, reply.status, reply.body) == (True, 202, b"{}")
    assert [head.split(b"\r\n")[0] for head in proxy.heads] == [f"CONNECT 127.0.0.1:{raw.port} HTTP/1.1".encode()]
    assert b"token" not in b"".join(proxy.heads)
    assert len(raw.requests) == 1


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Who are you\r\n\r\n", b"HTTP/1.1 502 Not there\r\n\r\n", b"\x00\r\n\r\n"]
)
async def test_behind_a_proxy_that_does_not_lead_there_nothing_was_handed_over(
    profile: Profile, authority: trustme.CA, answer: bytes
) -> None:
    """It refuses, cannot reach the SMP, or talks nonsense: the message may go again as it is."""
    async with raw_server(authority, OK) as raw, tunnel(answer=answer) as proxy:
        reply = await submit(profile, authority, raw.port, f"http://127.0.0.1:{proxy.port}")
    assert (reply.handed_over, reply.status, reply.sent_at) == (False, None, None)
    assert not raw.requests


async def test_without_its_proxy_nothing_was_handed_over(profile: Profile, authority: trustme.CA) -> None:
    """Nobody listens where the proxy should be."""
    async with tunnel() as proxy:
        gone = proxy.port
    async with raw_server(authority, OK) as raw:
        reply = await submit(profile, authority, raw.port, f"http://127.0.0.1:{gone}")
    assert (reply.handed_over, raw.requests) == (False, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\xfe",
        b"HTTP/1.1",
        b"HTTP/1.1 999999 X\r\n\r\n",
        b"HTTP/1.1 202 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 202 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 202 OK\r\nContent-Length: x\r\n\r\n{}",
        b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}",
        b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 202 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 202 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
async def test_an_unreadable_answer_was_handed_over(profile: Profile, authority: trustme.CA, answer: bytes) -> None:
    """Whatever bytes come or fail to come, nothing is raised: no status, and handed over, so that it is a doubt."""
    async with raw_server(authority, answer) as raw:
        reply = await submit(profile, authority, raw.port)
    assert (reply.handed_over, reply.status) == (True, None)
    assert reply.failure
    assert len(raw.requests) == 1


async def test_an_answer_beyond_the_limit_is_unreadable(profile: Profile, authority: trustme.CA) -> None:
    """Without a length, more bytes than the profile allows: no status."""
    limits = profile.limits.model_copy(update={"response_bytes": 1000})
    narrow = profile.model_copy(update={"limits": limits})
    async with raw_server(authority, b"HTTP/1.1 202 OK\r\n\r\n" + b"x" * 1001) as raw:
        reply = await submit(narrow, authority, raw.port)
    assert (reply.handed_over, reply.status) == (True, None)


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_kept_connection_that_breaks_is_one_attempt(
    profile: Profile, authority: trustme.CA, method: str
) -> None:
    """The second request is dropped unanswered: handed over, and never sent again by the library, whatever it is."""
    tls = client_context(authority.cert_pem.bytes())
    async with (
        raw_server(authority, OK, answers=2) as raw,
        smp_client(f"https://127.0.0.1:{raw.port}", profile, tls, SystemClock()) as client,
    ):
        replies = [await client.submit(call(raw.port, method), "token") for _ in range(3)]
    assert [(reply.handed_over, reply.status) for reply in replies] == [(True, 202), (True, 202), (True, None)]
    assert len(raw.requests) == 3


async def test_a_refused_connection_was_not_handed_over(profile: Profile, authority: trustme.CA) -> None:
    """Nobody listens: not one byte can have reached the SMP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        reply = await submit(profile, authority, free.getsockname()[1])
    assert (reply.handed_over, reply.status) == (False, None)


async def test_another_authoritys_server_gets_no_byte(profile: Profile, authority: trustme.CA) -> None:
    """A certificate of another CA: the handshake fails, nothing was handed over, nothing arrived."""
    async with raw_server(trustme.CA(), OK) as raw:
        reply = await submit(profile, authority, raw.port)
    assert (reply.handed_over, reply.status, raw.requests) == (False, None, [])


@given(text=st.text() | st.just("Mon, 01 Jan 0001 00:00:00 -0000") | st.integers().map(str))
def test_any_retry_after_is_a_pause_or_nothing(text: str) -> None:
    """Whatever the header says: seconds from 0 on, or None; never an error."""
    seconds = _retry_after(text, 0)
    assert seconds is None or seconds >= 0


def test_a_retry_after_date_counts_from_now() -> None:
    """RFC 9110: an HTTP date; one that has passed is no pause."""
    assert _retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0) == 60
    assert _retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 61_000_000) == 0
