"""The HTTP client towards one environment of the SMP.

Rules
-----
* One call is one attempt: no retries and no redirects of the library's own; what follows is decided in `core`.
* Nothing is raised for the network: a Reply says what is known. `handed_over` is False only before a connection was
  there to write to; a kept-alive connection that breaks is handed over, because the SMP may have read the request.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import aiohttp
from yarl import URL

from gateway.core import codec
from gateway.core.profile import Profile
from gateway.ports import Clock, Reply, SignedCall

_KEEP_ALIVE_S = 55.0  # below the 60 s after which common proxies close an idle connection


@dataclass(slots=True)
class _Trace:
    """What is known of one attempt's way to the wire."""

    handed_over: bool = False
    sent_at: int | None = None


@asynccontextmanager
async def smp_client(
    base_url: str, profile: Profile, tls: ssl.SSLContext, clock: Clock, proxy: str | None = None
) -> AsyncIterator[SmpClient]:
    """Open the connection pool of one environment, through an HTTP ``proxy`` if there is one; leaving closes it."""
    tracing = aiohttp.TraceConfig()

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.handed_over = True

    async def written(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.sent_at = clock.now()

    tracing.on_connection_create_end.append(connected)
    tracing.on_connection_reuseconn.append(connected)
    tracing.on_request_chunk_sent.append(written)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=100, keepalive_timeout=_KEEP_ALIVE_S),
        proxy=proxy,
        trace_configs=[tracing],
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        raise_for_status=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
    ) as session:
        yield SmpClient(session, base_url, profile, clock)


class SmpClient:
    """One environment of the SMP (ports.Transport)."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, profile: Profile, clock: Clock) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._profile = profile
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=profile.timings.request_s)

    async def submit(self, call: SignedCall, bearer: str) -> Reply:
        """Make a signed request with this bearer token; cancelling leaves it unknown whether the SMP has it."""
        names = self._profile.headers
        headers = {names.authorization: names.token(bearer)}
        if names.message_id is not None:
            headers[names.message_id] = call.message_id
        if call.signature is not None:
            headers[names.signature] = call.signature
        if call.body:
            headers["Content-Type"] = self._profile.media_types.signed
        return await self._call(call.method, call.url, call.body, headers)

    async def login(self, username: str, password: str) -> Reply:
        """POST the login; safe to cancel."""
        body = codec.encode_login(self._profile, username, password)
        headers = {"Content-Type": self._profile.media_types.plain}
        url = self._base_url + self._profile.paths.authenticate
        return await self._call(self._profile.methods.authenticate, url, body, headers)

    async def _call(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        trace = _Trace()
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),  # signed for: not a byte of it may be spelt otherwise on its way
                data=body or None,
                headers=headers,
                allow_redirects=False,
                timeout=self._timeout,
                middlewares=_ONE_ATTEMPT if method != "POST" else (),
                trace_request_ctx=trace,
            ) as response:
                answer = await self._read(response)
                signatures = response.headers.getall(self._profile.headers.signature, [])
                return Reply(
                    handed_over=True,
                    status=response.status if answer is not None else None,
                    body=answer or b"",
                    signature=", ".join(signatures) if signatures else None,
                    failure="" if answer is not None else "the answer is longer than the profile allows",
                    retry_after=_retry_after(response.headers.get("Retry-After"), self._clock.now()),
                    sent_at=trace.sent_at,
                    answered_at=self._clock.now(),
                    date_at=_instant(response.headers.get("Date")),
                )
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, ValueError) as error:
            return Reply(handed_over=trace.handed_over, failure=_sentence(error), sent_at=trace.sent_at)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The whole answer, or None when it is longer than the profile's limit."""
        limit = self._profile.limits.response_bytes
        if (response.content_length or 0) > limit:
            return None
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                return None
        return bytes(body)


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep the library from sending again what it takes to be harmless, a PUT or GET whose kept connection broke."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(_sentence(error)) from error


_ONE_ATTEMPT = (_once,)


def _retry_after(text: str | None, now: int) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3): a number or an HTTP date; None when there is none or it is neither."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    at = _instant(text)
    return None if at is None else max((at - now) / 1_000_000, 0.0)


def _instant(text: str | None) -> int | None:
    """µs UTC of an HTTP date (RFC 9110 section 5.6.7), or None where there is none."""
    try:
        return None if text is None else round(parsedate_to_datetime(text).timestamp() * 1_000_000)
    except (ValueError, OverflowError):  # also a date before the calendar's beginning
        return None


def _sentence(error: BaseException) -> str:
    text = str(error) or "no answer within the time-out"
    return f"{type(error).__name__}: {text}"
