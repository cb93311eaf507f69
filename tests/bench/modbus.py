"""Modbus: many sites polled by one gateway process on one core, beside bare pymodbus making the same reads.

Both poll the same plants in the same run, one after the other. The plants, in a process of their own, note when each
read came: one is late when it came more than a tenth of a period after its time, counted from the one before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joserfc.jwk import ECKey

from tests.bench.commands import process, run
from tests.bench.subject import ROOT, NotStarted
from tests.ports import free_ports

REGISTERS, PERIOD_S = 100, 1.0
LATE_AIM, MEMORY_AIM_MB = 0.001, 400.0
_SITE = """\
site: plant-{number}
participant: exstor
connections: {{plc: {{protocol: modbus, host: 127.0.0.1, port: {port}, poll: 1s, timeout: 5s}}}}
arrays: {{r: {{connection: plc, count: {registers}, stride: 1, points: {{v: {{address: "holding:0", type: uint16}}}}}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What one way of polling came to: reads and late ones of them, memory, and the share of its core that it used."""

    reads: int
    late: int
    memory_mb: float
    core: float

    @property
    def late_share(self) -> float:
        """Late reads of all."""
        return self.late / self.reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The same plants polled by both."""

    sites: int
    seconds: float
    gateway: Polled
    bare: Polled


def measure(folder: Path, sites: int, seconds: float) -> Fleet:
    """Poll so many sites for so long with each.

    Raises:
        NotStarted: a process did not come up, or polled nothing.
    """
    with _plants() as (plants, port):
        with _bare(port, sites) as poller:
            bare = _counted(plants, poller.pid, sites, seconds)
        with _gateway(folder / "modbus", port, sites) as running:
            gateway = _counted(plants, running.pid, sites, seconds)
    return Fleet(sites=sites, seconds=seconds, gateway=gateway, bare=bare)


def _counted(plants: subprocess.Popen[str], pid: int, sites: int, seconds: float) -> Polled:
    """Let a poller settle, then count what comes of it."""
    deadline = time.monotonic() + 120
    while _asked(plants, "polling")["connections"] < sites:
        if time.monotonic() > deadline:
            raise NotStarted("the sites were not all connected within two minutes")
        time.sleep(0.1)
    time.sleep(2 * PERIOD_S)
    _asked(plants, "begin")
    before, began = _cpu(pid), time.monotonic()
    time.sleep(seconds)
    found = _asked(plants, "end")
    core = (_cpu(pid) - before) / (time.monotonic() - began)
    if not found["reads"]:
        raise NotStarted("nothing was polled")
    return Polled(reads=found["reads"], late=found["late"], memory_mb=_memory_mb(pid), core=core)


def _asked(plants: subprocess.Popen[str], what: str) -> dict[str, int]:
    if plants.stdin is None or plants.stdout is None:
        raise TypeError("the plants were started without pipes")
    plants.stdin.write(what + "\n")
    plants.stdin.flush()
    line = plants.stdout.readline()
    if not line:
        raise NotStarted("the plants ended early")
    found: dict[str, int] = json.loads(line)
    return found


@contextmanager
def _plants() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "tests.bench.modbus_plants"]
    with _running(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)) as it:
        yield it, _asked(it, "port")["port"]


@contextmanager
def _bare(port: int, sites: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.bench.modbus_bare", str(port), str(sites)]
    with _running(subprocess.Popen(command, cwd=ROOT, text=True)) as poller:
        _pin(poller.pid)
        yield poller


@contextmanager
def _gateway(folder: Path, port: int, sites: int) -> Iterator[subprocess.Popen[bytes]]:
    environ = _configure(folder, port, sites)
    arguments = ["run", str(folder / "config" / "gateway.yaml"), "--state", str(folder / "state")]
    with process(arguments, environ, folder / "gateway.log", until="gateway_started") as running:
        _pin(running.pid)
        yield running


@contextmanager
def _running(started: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()


def _pin(pid: int) -> None:
    """Keep a process, with all its threads, on one core: the last one, so that the plants have the others."""
    core = {max(os.sched_getaffinity(0))}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), core)


def _configure(folder: Path, port: int, sites: int) -> Mapping[str, str]:
    """The example with many plants and nothing else, and an SMP that is never there."""
    shutil.copytree(ROOT / "config", folder / "config")
    for path in (folder / "config" / "sites").glob("*.yaml"):
        path.unlink()
    for number in range(sites):
        text = _SITE.format(number=number, port=port, registers=REGISTERS)
        (folder / "config" / "sites" / f"plant-{number}.yaml").write_text(text, "utf-8")
    state = folder / "state"
    (state / "secrets").mkdir(parents=True)
    for participant in ("exstor", "exflex"):
        (state / "secrets" / f"{participant}.password").write_text("bench\n", "utf-8")
    callbacks, health, nobody = free_ports(3)
    environ = {
        "SMP_URL": f"https://127.0.0.1:{nobody}",
        "CALLBACK_LISTEN": f"127.0.0.1:{callbacks}",
        "PUBLIC_URL": f"https://127.0.0.1:{callbacks}",
        "HEALTH_LISTEN": f"127.0.0.1:{health}",
    }
    run(["keys", "generate", str(folder / "config" / "gateway.yaml"), "--state", str(state), "--practice"], environ)
    shutil.copy(state / "pki" / "host-ca.pem", state / "pki" / "smp-ca.pem")
    nobody_s = ECKey.generate_key("P-256", {"kid": "nobody", "alg": "ES256"}).as_dict(private=False)
    (state / "pki" / "smp.jwks.json").write_text(json.dumps({"keys": [nobody_s]}), "utf-8")
    return environ


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    sizes = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines())
    return int(sizes["VmRSS"].split()[0]) / 1024
