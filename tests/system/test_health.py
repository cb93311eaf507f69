"""What supervisors, Prometheus and the log are told, and what they are never told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.edge.journal.stored import StoredJournal
from tests.system.front import Answer
from tests.system.rig import holds, world


async def test_liveness_readiness_and_metrics(tmp_path: Path) -> None:
    """`/livez` and `/readyz` are 200 with their bodies; `/metrics` counts messages, hops and callbacks."""
    async with world(tmp_path) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.COMPLETED)
        await running.relayed()
        await holds(lambda: len(here.events("site_connected")) == 3)
        assert await running.get("/livez") == (200, '{"status":"alive"}')
        assert await running.ready() == (200, {"status": "ready", "reasons": [], "degraded": []})
        status, metrics = await running.get("/metrics")
    assert status == 200
    lines = set(metrics.splitlines())
    assert 'smp_gateway_messages{state="completed"} 1.0' in lines
    assert "smp_gateway_relays_pending 0.0" in lines
    assert 'smp_gateway_callback_received_total{disposition="applied",participant="exstor"} 1.0' in lines
    assert 'smp_gateway_message_accepted_total{message="battery",site="hams-bess"} 1.0' in lines
    assert any(line.startswith('smp_gateway_hop_seconds_count{hop="read_back"}') for line in lines)


async def test_a_login_that_is_not_answered_well_is_told_once_and_shown_since_when(tmp_path: Path) -> None:
    """404 to every login (a wrong base URL): ready but degraded with the reason; one log line, however many tries."""
    async with world(tmp_path) as here:
        here.front.intercept = lambda seen: Answer(status=404) if seen.path == "/authenticate" else None
        async with here.gateway() as running:
            await holds(lambda: len(here.front.requests("/authenticate")) >= 4)
            status, body = await running.ready()
    assert (status, body["status"]) == (200, "degraded")
    (line,) = [line for line in body["degraded"] if "exstor" in line]
    assert "no token" in line
    assert "404" in line
    assert ", since 20" in line
    assert len(here.events("login_failed", participant="exstor")) == 1


async def test_no_secret_is_ever_told(tmp_path: Path) -> None:
    """Passwords, tokens and private keys are in no log line, metric, journal file or health body."""
    async with world(tmp_path) as here:
        async with here.gateway() as running:
            here.smp.faults.before_commit.extend([401, 503])
            for site in ("hams-bess", "trent-chp"):
                await here.ask(site, site.upper())
                await running.reaches(site, State.COMPLETED)
            told = here.log.getvalue() + (await running.get("/metrics"))[1] + (await running.get("/readyz"))[1]
        files = b"".join(path.read_bytes() for path in here.configuration.control.parent.glob("journal.db*"))
        secrets = [path.read_text().strip() for path in (here.state / "secrets").iterdir()]
        secrets += [line for path in (here.state / "keys").iterdir() for line in path.read_text().splitlines()[1:-1]]
        secrets += [seen.token for seen in here.front.seen if seen.token]
    assert len(secrets) >= 6
    for secret in secrets:
        assert secret not in told
        assert secret.encode() not in files
        assert json.dumps(secret)[1:-1] not in told


async def test_a_full_disk_is_shown_and_its_end_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plant that asks is not acknowledged, `/readyz` says why while callbacks go on, and with room it all goes on."""
    async with world(tmp_path) as here, here.gateway() as running:
        stored = running.gateway.journal
        assert isinstance(stored, StoredJournal)
        with monkeypatch.context() as patched:
            patched.setattr(stored, "_options", replace(stored._options, is_full=lambda: True))
            sequence = await here.ask("hams-bess", "HAMS 1")
            await holds(lambda: here.events("journal_full"))
            status, body = await running.ready()
            assert status == 200
            assert "journal: the disk is nearly full; nothing new is taken in until there is room" in body["degraded"]
        assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.COMPLETED)
        assert len(here.events("journal_has_room")) == len(here.events("journal_full")) == 1
        assert not any("journal" in line for line in (await running.ready())[1].get("degraded", ()))
