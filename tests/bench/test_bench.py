"""The bench still measures: a very short run over real processes ends well and gives every figure."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.adapters.mqtt.mosquitto import program
from tests.bench import imports, journal, modbus, mqtt, nodes, opcua
from tests.conftest import REPOSITORY


async def test_a_short_bench_measures_both_ways_of_gateway_and_floor(tmp_path: Path) -> None:
    """Figures for uplink and downlink of both, from verified conversations; how large they are is not judged."""
    report = tmp_path / "bench.json"
    command = [
        sys.executable,
        "-m",
        "tests.bench",
        "--messages",
        "4",
        "--warm-up",
        "1",
        "--assets",
        "1500",
        "--requests",
        "0",
        "--items",
        "0",
        "--sites",
        "0",
        "--appends",
        "0",
        "--backlog",
        "0",
        "--json",
        str(report),
    ]
    async with asyncio.timeout(120):
        process = await asyncio.create_subprocess_exec(
            *command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    figures = json.loads(report.read_text(encoding="utf-8"))
    ways = {each["way"]: (each["gateway"]["n"], each["floor"]["n"]) for each in figures["compared"]}
    assert ways == {"uplink": (4, 4), "downlink": (4, 4), "first_write": (4, 4)}
    assert all(each["gateway"]["p50_ms"] > 0 < each["floor"]["p50_ms"] for each in figures["compared"])
    payload = figures["payload"]
    assert payload["rows"] == 1000
    assert payload["total_ms"] > 0 < payload["target_ms"]


async def test_a_small_import_is_measured(tmp_path: Path) -> None:
    """1,500 assets through the real processes: everything accepted, and every figure there."""
    found = await asyncio.to_thread(imports.measure, tmp_path, 1500)
    assert found.assets == 1500
    assert 0 < found.idle_mb <= found.peak_mb
    assert found.accepted_s > 0 < found.checked_and_taken_s


async def test_mqtt_is_measured_beside_the_bare_library(tmp_path: Path) -> None:
    """A few readings and requests through a real broker and the real process: all of them taken, every figure there."""
    program()
    found = await asyncio.to_thread(mqtt.measure, tmp_path, 500, 40)
    assert (found.readings, found.requests) == (500, 40)
    for rate in (found.gateway_readings, found.bare_readings, found.gateway_requests, found.bare_requests):
        assert 0 < rate < float("inf")


async def test_the_journal_is_measured_beside_the_bare_driver(tmp_path: Path) -> None:
    """Few appends and a small recovery in a process of its own: all rows and doubts there, every figure there."""
    found = await asyncio.to_thread(journal.measure, tmp_path, 25, 4_000, 50, 20)
    assert 3_900 < found.rows <= 4_000
    assert (found.open, found.append.n, found.one_row.n, found.same_rows.n) == (50, 25, 25, 25)
    assert found.append.p50_ms > 0 < found.recovery_s
    assert found.rate > 0 < found.same_rows_rate < found.one_row_rate
    assert 0 < found.first_mb <= found.last_mb + 1


async def test_polling_many_sites_is_measured_beside_the_bare_library(tmp_path: Path) -> None:
    """A few sites for a few seconds by the real process and by bare pymodbus: both polled all, every figure there."""
    found = await asyncio.to_thread(modbus.measure, tmp_path, 4, 1.5)
    for polled in (found.gateway, found.bare):
        assert polled.reads >= found.sites
        assert 0 <= polled.late_share <= 1
        assert polled.memory_mb > 0 <= polled.core


async def test_draining_is_measured_with_one_gateway_and_with_two(tmp_path: Path) -> None:
    """A few messages through the real processes, all of them sent; how much faster two are is not judged."""
    found = await asyncio.to_thread(nodes.measure, tmp_path, 24)
    assert found.messages == 24
    assert found.one_s > 0 < found.two_s


async def test_opcua_is_measured_beside_the_bare_library() -> None:
    """Both take every node's last change, from servers in a process of their own; how fast is not judged."""
    found = await asyncio.to_thread(opcua.measure, 40, 2)
    assert (found.items, found.servers) == (40, 2)
    for taken in (found.gateway, found.bare):
        assert taken.connected_s > 0 < taken.changes_per_s
        assert taken.cpu_us_per_change > 0 < taken.peak_mb
