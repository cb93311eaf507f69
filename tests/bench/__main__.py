"""`make bench`: the gateway's added latency beside the floor, measured in one run.

Three processes and this one, which only waits: the peers (a site and an SMP for each of the two), the gateway as it is
shipped, and the floor. One request at a time; gateway and floor take turns in blocks, and whoever is not asked goes on
polling. Slowness is never an error: the exit code is 1 only when something got lost or came out wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console

from tests.bench import imports, journal, machine, material, modbus, mqtt, nodes, opcua, payload, subject
from tests.bench.figures import Compared, Figures
from tests.bench.report import (
    WAYS,
    Run,
    as_json,
    show,
    show_import,
    show_journal,
    show_modbus,
    show_mqtt,
    show_nodes,
    show_opcua,
)

_GONE_S = 10.0


class PeerFailed(Exception):
    """A process of the bench ended before its time; it said why on stderr."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    options = _options().parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="smp-bench-", dir=options.folder) as name:
        try:
            run = _measure(Path(name), options, arguments)
            sizes = (options.appends, options.rows, options.open, options.finished)
            costs = journal.measure(Path(name), *sizes) if options.appends else None
            imported = imports.measure(Path(name), options.assets) if options.assets else None
            rates = None
            if options.requests and mqtt.available():
                rates = mqtt.measure(Path(name), options.readings, options.requests)
            watched = opcua.measure(options.items) if options.items else None
            fleet = modbus.measure(Path(name), options.sites, options.seconds) if options.sites else None
            drained = nodes.measure(Path(name), options.backlog) if options.backlog else None
        except (PeerFailed, subject.NotStarted) as failure:
            console.print(f"[red]not measured:[/] {failure}")
            console.print(subject.last_words(Path(name)), markup=False, highlight=False, soft_wrap=True)
            return 1
    show(run, console)
    if imported is not None:
        show_import(imported, console)
    show_mqtt(rates, console)
    if watched is not None:
        show_opcua(watched, console)
    if fleet is not None:
        show_modbus(fleet, console)
    if costs is not None:
        show_journal(costs, console)
    if drained is not None:
        show_nodes(drained, console)
    if options.json is not None:
        told = {
            **as_json(run),
            "import": None if imported is None else dataclasses.asdict(imported),
            "journal": None if costs is None else dataclasses.asdict(costs),
            "mqtt": None if rates is None else dataclasses.asdict(rates),
            "opcua": None if watched is None else dataclasses.asdict(watched),
            "modbus": None if fleet is None else dataclasses.asdict(fleet),
            "nodes": None if drained is None else dataclasses.asdict(drained),
        }
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--messages", type=_count, default=300, help="measured messages each (default %(default)s)")
    parser.add_argument("--warm-up", type=_count, default=20, help="messages each before (default %(default)s)")
    parser.add_argument("--block", type=_count, default=25, help="messages per turn (default %(default)s)")
    parser.add_argument("--poll", type=_count, default=50, help="poll period of both in ms (default %(default)s)")
    parser.add_argument("--seed", type=int, default=2, help="of the pauses (default %(default)s)")
    parser.add_argument("--assets", type=int, default=100_000, help="to import; 0 for none (default %(default)s)")
    parser.add_argument("--readings", type=_count, default=50_000, help="over MQTT (default %(default)s)")
    parser.add_argument("--requests", type=int, default=5_000, help="over MQTT; 0 for none (default %(default)s)")
    parser.add_argument("--items", type=int, default=10_000, help="watched on OPC UA; 0 for none (default %(default)s)")
    parser.add_argument("--sites", type=int, default=1_000, help="on Modbus; 0 for none (default %(default)s)")
    parser.add_argument("--seconds", type=_count, default=30, help="of polling them, each (default %(default)s)")
    parser.add_argument("--appends", type=int, default=2_000, help="to the journal; 0 for none (default %(default)s)")
    parser.add_argument("--rows", type=_count, default=1_000_000, help="of the recovered journal (default %(default)s)")
    parser.add_argument("--open", type=_count, default=10_000, help="messages that it recovers (default %(default)s)")
    parser.add_argument("--finished", type=_count, default=5_000, help="messages for the memory (default %(default)s)")
    parser.add_argument("--backlog", type=int, default=200, help="for two gateways; 0 for none (default %(default)s)")
    parser.add_argument("--folder", type=Path, default=None, help="where both keep their journals for the run")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the results there as well")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _measure(folder: Path, options: argparse.Namespace, arguments: Sequence[str]) -> Run:
    material.write(folder)
    sizes = (options.messages, options.warm_up, options.block, options.poll, options.seed)
    with _process("peers", folder, *sizes) as peers:
        ports = json.loads(_line(peers))
        with (
            subject.running(
                folder,
                modbus_port=ports["gateway"]["modbus"],
                smp_port=ports["gateway"]["smp"],
                poll_ms=options.poll,
            ) as gateway,
            _process("floor", folder, ports["floor"]["modbus"], ports["floor"]["smp"], options.poll) as floor,
        ):
            callbacks = {"gateway": gateway.callback_port, "floor": int(_line(floor))}
            before, began = gateway.usage(), time.monotonic()
            _stream(peers.stdin).write(json.dumps(callbacks) + "\n")
            _stream(peers.stdin).flush()
            samples = json.loads(_line(peers))
            after, wall_s = gateway.usage(), time.monotonic() - began
    return Run(
        command=f"make bench ARGS={shlex.quote(shlex.join(arguments))}",
        machine=machine.describe(folder),
        poll_ms=options.poll,
        wall_s=wall_s,
        compared=[
            Compared(way=way, gateway=Figures.of(samples["gateway"][way]), floor=Figures.of(samples["floor"][way]))
            for way in WAYS
        ],
        payload=payload.measure(folder / material.PARTICIPANT_KEY),
        steps=subject.steps(folder, options.messages),
        before=before,
        after=after,
        messages=options.messages,
    )


@contextmanager
def _process(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a module of the bench until left; a peer ends by itself when the others do."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=subject.ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(_GONE_S)


def _line(process: subprocess.Popen[str]) -> str:
    line = _stream(process.stdout).readline()
    if not line:
        raise PeerFailed(f"{process.args[2]} ended early" if isinstance(process.args, list) else "a peer ended early")
    return line


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the process was started without a pipe")
    return stream


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
