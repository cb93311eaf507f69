"""The supervisor's listener: alive, ready with reasons, degraded but serving, and metrics."""

from __future__ import annotations

import json

import aiohttp
import pytest

from gateway.edge.health import Readiness, health_server


async def metrics() -> bytes:
    return b"a 1.0\n"


@pytest.mark.parametrize(
    ("readiness", "status", "word"),
    [
        (Readiness(), 200, "ready"),
        (Readiness(degraded=("SMP test: not reachable",)), 200, "degraded"),
        (Readiness(reasons=("draining",)), 503, "not ready"),
        (Readiness(reasons=("clock",), degraded=("site a",)), 503, "not ready"),
    ],
)
async def test_readiness_is_503_for_reasons_only(readiness: Readiness, status: int, word: str) -> None:
    """Reasons make it 503; what is degraded stands in the body; `/livez` stays 200."""
    async with (
        health_server("127.0.0.1", 0, readiness=lambda: readiness, metrics=metrics) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get("/readyz") as answer:
            body = json.loads(await answer.read())
            assert answer.status == status
        async with session.get("/livez") as answer:
            assert answer.status == 200
        async with session.get("/metrics") as answer:
            assert (await answer.read(), answer.headers["Content-Type"].split(";")[0]) == (b"a 1.0\n", "text/plain")
    assert body == {"status": word, "reasons": list(readiness.reasons), "degraded": list(readiness.degraded)}
