"""The gateway as it is shipped: `smp-gateway run` on a generated configuration; what its process and journal tell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gateway.app import open_reader
from gateway.core.message import Hop
from gateway.core.record import MessageFilter
from tests.bench import layout, material

ROOT = Path(__file__).parents[2]
LOG = "gateway.log"
_START_S, _STOP_S = 30.0, 20.0
_TICKS = os.sysconf("SC_CLK_TCK")
# The acknowledgement of the site runs beside the sending, so it is no step of either way.
WAYS: Mapping[str, tuple[Hop, ...]] = {
    "uplink": (Hop.SEEN, Hop.SNAPSHOT, Hop.COMMITTED, Hop.SIGNED, Hop.SENT, Hop.ANSWERED),
    "acknowledgement": (Hop.COMMITTED, Hop.ACKNOWLEDGED),
    "downlink": (Hop.CALLED_BACK, Hop.VERIFIED, Hop.SETTLED, Hop.RELAYED, Hop.READ_BACK),
}


class NotStarted(Exception):
    """The gateway did not come up; its log says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process used up to now."""

    cpu_s: float
    rss_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Between two hops of all measured messages, in milliseconds."""

    way: str
    first: str
    last: str
    median_ms: float
    p99_ms: float


@dataclass(slots=True, kw_only=True)
class Subject:
    """A running gateway."""

    process: subprocess.Popen[bytes]
    folder: Path
    callback_port: int

    def usage(self) -> Usage:
        """CPU and memory of the process, from /proc."""
        here = Path(f"/proc/{self.process.pid}")
        fields = (here / "stat").read_text().rpartition(")")[2].split()
        sizes = dict(line.split(":", 1) for line in (here / "status").read_text().splitlines())
        return Usage(
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
            rss_mb=int(sizes["VmRSS"].split()[0]) / 1024,
            peak_mb=int(sizes["VmHWM"].split()[0]) / 1024,
        )


@contextmanager
def running(folder: Path, *, modbus_port: int, smp_port: int, poll_ms: float) -> Iterator[Subject]:
    """Run a gateway in ``folder`` until left.

    Raises:
        NotStarted: it ended or said nothing in time.
    """
    _write_configuration(folder, modbus_port=modbus_port, smp_port=smp_port, poll_ms=poll_ms)
    log = folder / LOG
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "gateway", "run", str(folder / "gateway.yaml")]
        process = subprocess.Popen(command, stderr=stream, cwd=ROOT)
    try:
        yield Subject(process=process, folder=folder, callback_port=_callback_port(process, log))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def steps(folder: Path, messages: int) -> list[Step]:
    """Read the hops of the last messages out of the journal."""
    with open_reader(folder / "journal.db") as reader:
        told = [message.hops for message in reader.history(MessageFilter(limit=messages))]
    found: list[Step] = []
    for way, hops in WAYS.items():
        for first, last in pairwise(hops):
            gaps = [(each[last] - each[first]) / 1000 for each in told if first in each and last in each]
            if len(gaps) >= 2:
                p99 = statistics.quantiles(gaps, n=100, method="inclusive")[98]
                found.append(Step(way=way, first=first, last=last, median_ms=statistics.median(gaps), p99_ms=p99))
    return found


def last_words(folder: Path) -> str:
    """The end of the gateway's log, as far as there is one."""
    log = folder / LOG
    return "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:]) if log.exists() else ""


def _callback_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if '"gateway_started"' in line:
                return int(json.loads(line)["callbacks"])
        time.sleep(0.05)
    raise NotStarted("the gateway did not start")


def _write_configuration(folder: Path, *, modbus_port: int, smp_port: int, poll_ms: float) -> None:
    for name in ("participants", "sites", "profiles"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "config" / "profiles" / "smp-v1.yaml", folder / "profiles")
    (folder / "gateway.yaml").write_text(
        f"""
journal: sqlite:journal.db
smp:
  test:
    profile: profiles/smp-v1.yaml
    base_url: https://{material.HOST}:{smp_port}
    ca: file:{material.CA}
    callback_keys: file:{material.JWKS}
callbacks:
  listen: {material.HOST}:0
  public_url: {material.PUBLIC_URL}
  certificate: file:{material.SERVER}
  key: file:{material.SERVER}
health: {{listen: "{material.HOST}:0"}}
participants: participants/*.yaml
sites: sites/*.yaml
""",
        encoding="utf-8",
    )
    (folder / "participants" / "exstor.yaml").write_text(
        f"""
participant: {material.PARTICIPANT}
name: Example Storage Ltd
environment: test
login: {{username: exstor, password: "file:{material.PASSWORD}"}}
signing: {{key: "file:{material.PARTICIPANT_KEY}", key_id: {material.PARTICIPANT_KEY_ID}, algorithm: ES256}}
""",
        encoding="utf-8",
    )
    places = dict(zip(("max_export", "max_import", "energy"), range(layout.BASE + layout.PAYLOAD, 65536), strict=False))
    points = "\n".join(
        f"  {name}: {{connection: plc, address: holding:{register}, type: uint16, scale: 0.1}}"
        for name, register in places.items()
    )
    asset = "\n        ".join(layout.ASSET.splitlines())
    (folder / "sites" / "bench.yaml").write_text(
        f"""
site: bench
participant: {material.PARTICIPANT}
connections:
  plc: {{protocol: modbus, host: {material.HOST}, port: {modbus_port}, unit: 1, poll: {round(poll_ms)}ms}}
points:
{points}
mailboxes:
  plc: {{connection: plc, layout: standard, base: {layout.BASE}, results: {layout.RESULTS}}}
messages:
  battery:
    kind: assets
    when: {{mailbox: plc, kind: {layout.KIND}}}
    assets:
      - {asset}
""",
        encoding="utf-8",
    )
