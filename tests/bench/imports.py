"""Importing a fleet from a CSV file: how long until a local SMP has accepted all of it, and what the gateway needs.

The gateway, the simulated SMP and the command line are the processes that people run; nothing is warmed up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from gateway.simulator.ledger import Ledger
from tests.bench.commands import process, run
from tests.bench.subject import ROOT, NotStarted, Subject
from tests.ports import free_ports
from tests.system import fleet

TARGET_S, TARGET_MB = 60.0, 300.0
_HANG_S = 600.0
_PARTICIPANT = "exflex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What one import took: seconds from the command to its end, and to the last 202, and the gateway's memory."""

    assets: int
    checked_and_taken_s: float
    accepted_s: float
    peak_mb: float
    idle_mb: float
    cpu_s: float


def measure(folder: Path, assets: int) -> Imported:
    """Import so many batteries into an empty gateway.

    Raises:
        NotStarted: a process did not come up, or not everything was accepted.
    """
    file = fleet.write(folder / "fleet.csv", assets)
    callbacks, health, smp = free_ports(3)
    environ = {
        "SMP_URL": f"https://127.0.0.1:{smp}",
        "CALLBACK_LISTEN": f"127.0.0.1:{callbacks}",
        "PUBLIC_URL": f"https://127.0.0.1:{callbacks}",
        "HEALTH_LISTEN": f"127.0.0.1:{health}",
    }
    state = folder / "import"
    (state / "secrets").mkdir(parents=True)
    for participant in ("exstor", _PARTICIPANT):
        (state / "secrets" / f"{participant}.password").write_text("bench\n", encoding="utf-8")
    configuration = str(ROOT / "config" / "gateway.yaml")
    run(["keys", "generate", configuration, "--state", str(state), "--practice"], environ)
    platform = ["simulate", "smp", "--state", str(state), "--listen", f"127.0.0.1:{smp}"]
    platform += ["--callback-url", environ["PUBLIC_URL"], "--callback-ca", str(state / "pki" / "host-ca.pem")]
    with (
        process(platform, environ, folder / "smp.log", until="listening on"),
        process(
            ["run", configuration, "--state", str(state)], environ, folder / "import.log", until='"login_succeeded"'
        ) as gateway,
    ):
        subject = Subject(process=gateway, folder=folder, callback_port=callbacks)
        before, began = subject.usage(), time.monotonic()
        options = ["--participant", _PARTICIPANT, "--gateway", configuration, "--state", str(state)]
        run(["import", str(file), *options], environ)
        taken_s = time.monotonic() - began
        accepted_s = _accepted(state / "smp-ledger.db", assets, began)
        after = subject.usage()
    return Imported(
        assets=assets,
        checked_and_taken_s=taken_s,
        accepted_s=accepted_s,
        peak_mb=after.peak_mb,
        idle_mb=before.rss_mb,
        cpu_s=after.cpu_s - before.cpu_s,
    )


def _accepted(ledger: Path, assets: int, began: float) -> float:
    """Seconds until the SMP has answered 202 to every row."""
    while time.monotonic() - began < _HANG_S:
        arrivals = Ledger.read_arrivals(ledger)
        if len(arrivals) * 1000 >= assets:
            return time.monotonic() - began
        time.sleep(0.2)
    raise NotStarted("the SMP did not accept everything")
