"""The run for people (tables) and for programs (JSON)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Compared
from tests.bench.imports import TARGET_MB, TARGET_S, Imported
from tests.bench.journal import APPEND_AIM, GROUP_AIM, PRODUCERS, RECOVERY_AIM_S, Costs
from tests.bench.modbus import LATE_AIM, MEMORY_AIM_MB, REGISTERS, Fleet
from tests.bench.mqtt import READINGS_AIM, REQUESTS_AIM, SITES, Rates
from tests.bench.nodes import AIM, AT_ONCE, LATENCY_S, Drained
from tests.bench.opcua import Watched
from tests.bench.payload import TARGET_MS, Payload
from tests.bench.subject import Step, Usage

WAYS = {
    "uplink": "the site's frame with the new sequence to the last byte of the POST",
    "downlink": "the callback's last byte to the write of RESULT_SEQ",
    "first_write": "the callback's last byte to the first write of the result block",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that one run found out."""

    command: str
    machine: Mapping[str, str]
    poll_ms: float
    wall_s: float
    compared: Sequence[Compared]
    payload: Payload
    steps: Sequence[Step]
    before: Usage
    after: Usage
    messages: int

    @property
    def cpu_share(self) -> float:
        """The share of one core that the gateway used, its idle polls included."""
        return (self.after.cpu_s - self.before.cpu_s) / self.wall_s


def show(run: Run, console: Console) -> None:
    """Print the tables."""
    console.print(_latencies(run.compared))
    for way, meaning in WAYS.items():
        console.print(f"  {way}: from {meaning}", soft_wrap=True)
    console.print(_steps(run.steps))
    made = run.payload
    console.print(
        f"{made.rows} assets ({made.body_bytes} bytes) from readings to signed bytes: {made.total_ms:.1f} ms, aim "
        f"{TARGET_MS:g} ms; of that mapped and validated {made.drafted_ms:.1f}, encoded {made.encoded_ms:.1f}, signed "
        f"{made.signed_ms:.1f}",
        soft_wrap=True,
    )
    console.print(
        f"gateway process: {100 * run.cpu_share:.1f} % of one core over {run.wall_s:.0f} s with a poll every "
        f"{run.poll_ms:g} ms, {run.after.rss_mb:.0f} MB resident ({run.after.peak_mb:.0f} MB at most)",
        soft_wrap=True,
    )
    console.print("machine: " + ", ".join(f"{name} {value}" for name, value in run.machine.items()), soft_wrap=True)
    if run.machine["filesystem"] == "tmpfs":
        console.print("[yellow]these commits went to tmpfs and cost nothing: choose a folder on a disk with --folder")
    console.print(f"again: {run.command}", soft_wrap=True)


def show_import(imported: Imported, console: Console) -> None:
    """Print what an import took, beside what it should take for 100,000 assets."""
    console.print(
        f"import of {imported.assets} assets: accepted by a local SMP after {imported.accepted_s:.1f} s (aim for "
        f"100,000: {TARGET_S:.0f}), checked and taken after {imported.checked_and_taken_s:.1f} s; gateway "
        f"{imported.peak_mb:.0f} MB at most (aim: {TARGET_MB:.0f}; {imported.idle_mb:.0f} before), "
        f"{imported.cpu_s:.1f} s of CPU",
        soft_wrap=True,
    )


def show_mqtt(rates: Rates | None, console: Console) -> None:
    """Print what was taken in over MQTT each second, beside the bare library."""
    if rates is None:
        console.print("MQTT: not measured (mosquitto is not installed, or not asked for)")
        return
    for what, count, gateway, bare, aim in (
        ("readings taken in", rates.readings, rates.gateway_readings, rates.bare_readings, READINGS_AIM),
        (
            f"requests of {SITES} sites on disk",
            rates.requests,
            rates.gateway_requests,
            rates.bare_requests,
            REQUESTS_AIM,
        ),
    ):
        console.print(
            f"MQTT, {count} {what}: {gateway:,.0f} a second (aim: {aim:,.0f}); the bare library {bare:,.0f}",
            soft_wrap=True,
        )


def show_opcua(watched: Watched, console: Console) -> None:
    """Print what watching many nodes costs, beside bare asyncua."""
    for who, taken in (("gateway", watched.gateway), ("bare asyncua", watched.bare)):
        console.print(
            f"OPC UA, {watched.items:,} items on {watched.servers} servers, {who}: all told once in "
            f"{taken.connected_s:.1f} s; {taken.changes_per_s:,.0f} changes a second, "
            f"{taken.cpu_us_per_change:.0f} µs of CPU each, {taken.peak_mb:,.0f} MB",
            soft_wrap=True,
        )


def show_modbus(fleet: Fleet, console: Console) -> None:
    """Print what polling many sites costs, beside bare pymodbus."""
    for who, polled in (("gateway", fleet.gateway), ("bare pymodbus", fleet.bare)):
        console.print(
            f"Modbus, {fleet.sites:,} sites of {REGISTERS} registers at 1 Hz for {fleet.seconds:g} s, {who} on one core"
            f": {polled.late_share:.3%} of {polled.reads:,} polls late (aim: < {LATE_AIM:.1%}), "
            f"{polled.memory_mb:,.0f} MB (aim: < {MEMORY_AIM_MB:,.0f}), {polled.core:.0%} of the core",
            soft_wrap=True,
        )


def show_journal(costs: Costs, console: Console) -> None:
    """Print what the journal costs, beside the bare driver."""
    ours = costs.append
    console.print(
        f"journal: one append {ours.p50_ms:.3f} ms (p99 {ours.p99_ms:.3f}); {PRODUCERS} producers {costs.rate:,.0f} a "
        "second",
        soft_wrap=True,
    )
    for floor, raw, rate in (
        ("its bytes in one row", costs.one_row, costs.one_row_rate),
        ("as many rows and bytes, in as many tables", costs.same_rows, costs.same_rows_rate),
    ):
        console.print(
            f"journal: the bare driver, {floor}: {raw.p50_ms:.3f} ms (p99 {raw.p99_ms:.3f}), x "
            f"{ours.p50_ms / raw.p50_ms:.2f} (aim: {APPEND_AIM:g}); {rate:,.0f} a second, x {costs.rate / rate:.2f} "
            f"(aim: {GROUP_AIM:g})",
            soft_wrap=True,
        )
    console.print(
        f"journal: {costs.rows:,} rows with {costs.open:,} messages under way recovered in {costs.recovery_s:.1f} s "
        f"(aim for 1,000,000 and 10,000: {RECOVERY_AIM_S:g}); {costs.first_mb:.1f} MB resident after "
        f"{costs.finished // 10:,} finished messages, {costs.last_mb:.1f} after {costs.finished:,}",
        soft_wrap=True,
    )


def show_nodes(drained: Drained, console: Console) -> None:
    """Print how fast a backlog is drained by one gateway and by two."""
    console.print(
        f"two gateways on one PostgreSQL, {drained.messages:,} messages, an SMP that answers after "
        f"{1000 * LATENCY_S:g} ms and {AT_ONCE} request of an address at a time: one drains them in "
        f"{drained.one_s:.1f} s, two in {drained.two_s:.1f} s, x {drained.ratio:.2f} (aim: {AIM:g})",
        soft_wrap=True,
    )


def as_json(run: Run) -> dict[str, object]:
    """The same for programs."""
    against_floor = {
        each.way: {
            "p50_ratio": each.p50_ratio,
            "p99_ratio": each.p99_ratio,
            "p50_above_ms": each.p50_above_ms,
            "p99_above_ms": each.p99_above_ms,
        }
        for each in run.compared
    }
    payload = {**dataclasses.asdict(run.payload), "total_ms": run.payload.total_ms, "target_ms": TARGET_MS}
    return {**dataclasses.asdict(run), "payload": payload, "against_floor": against_floor, "cpu_share": run.cpu_share}


def _latencies(compared: Sequence[Compared]) -> Table:
    table = Table(title="Latency added, beside the floor of the same run (ms)", title_justify="left")
    for name in ("way", "", "n", "p50", "p99", "max"):
        table.add_column(name, justify="left" if name in {"way", ""} else "right")
    for each in compared:
        for who, figures in (("gateway", each.gateway), ("floor", each.floor)):
            numbers = (f"{value:.3f}" for value in (figures.p50_ms, figures.p99_ms, figures.max_ms))
            table.add_row(each.way if who == "gateway" else "", who, str(figures.n), *numbers)
        table.add_row("", "above", "", f"{each.p50_above_ms:+.3f}", f"{each.p99_above_ms:+.3f}", "")
        table.add_row("", "ratio", "", f"x {each.p50_ratio:.2f}", f"x {each.p99_ratio:.2f}", "", end_section=True)
    return table


def _steps(steps: Sequence[Step]) -> Table:
    table = Table(title="Where the gateway spends it, by the hops in its journal (ms)", title_justify="left")
    for name in ("way", "from", "to", "median", "p99"):
        table.add_column(name, justify="right" if name in {"median", "p99"} else "left")
    shown = ""
    for step in steps:
        table.add_row(
            step.way if step.way != shown else "", step.first, step.last, f"{step.median_ms:.3f}", f"{step.p99_ms:.3f}"
        )
        shown = step.way
    return table
