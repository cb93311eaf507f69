"""MQTT: how many readings and how many requests a second the gateway takes in, each beside the bare library.

Both take the same messages from the same mosquitto in the same run, one after the other. Readings go to the adapter as
the gateway runs it; requests to a gateway process, with the SMP away, counted when they are on disk.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import orjson
from joserfc.jwk import ECKey

from gateway.app import open_reader
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.bench.commands import process, run
from tests.bench.subject import ROOT, NotStarted
from tests.ports import free_ports

READINGS_AIM, REQUESTS_AIM = 5_000.0, 1_000.0  # a second
VALUES = ("power.import_kw", "power.export_kw", "soc", "limits.up", "limits.down")
TOPICS, SITES = 20, 16
LAST = "bench/last"
_WINDOW = 200  # messages on their way to the broker
_HANG_S = 300.0
_SETTINGS = (
    "allow_anonymous true",
    "max_queued_messages 0",
    "max_inflight_messages 0",
    "set_tcp_nodelay true",
    "autosave_on_changes false",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was taken in a second, by the gateway and by the bare library."""

    readings: int
    gateway_readings: float
    bare_readings: float
    requests: int
    gateway_requests: float
    bare_requests: float


def available() -> bool:
    """Whether there is a broker to measure with."""
    return shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/sbin:/usr/local/bin") is not None


def measure(folder: Path, readings: int, requests: int) -> Rates:
    """Send so many readings and requests to each.

    Raises:
        NotStarted: a process did not come up, or something was lost.
    """
    return asyncio.run(_measure(folder, readings, requests))


async def _measure(folder: Path, readings: int, requests: int) -> Rates:
    messages = readings // len(VALUES)
    async with mosquitto(*_SETTINGS) as broker, asyncio.timeout(_HANG_S):
        return Rates(
            readings=messages * len(VALUES),
            bare_readings=len(VALUES) * await _taken(broker, "bare", messages),
            gateway_readings=len(VALUES) * await _taken(broker, "adapter", messages),
            requests=requests,
            bare_requests=await _taken(broker, "requests", requests),
            gateway_requests=await _committed(folder / "mqtt", broker, requests),
        )


async def _taken(broker: Mosquitto, who: str, messages: int) -> float:
    """Messages a second that a process of its own takes until it has seen the last one."""
    command = (sys.executable, "-m", "tests.bench.mqtt_taker", who, str(broker.port))
    taker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    if taker.stdout is None or await taker.stdout.readline() != b"ready\n":
        raise NotStarted(f"the MQTT taker {who} did not come up")
    if who == "requests":
        await send(broker, [(f"depot-{n % SITES}/smp/request", request_of(n)) for n in range(messages)])
    else:
        await send(broker, [(f"bench/{n % TOPICS}", _telemetry(n)) for n in range(messages)])
    await send(broker, [(LAST, b"1")])
    took = float(await taker.stdout.readline() or "nan")
    await taker.wait()
    return messages / took


async def _committed(folder: Path, broker: Mosquitto, requests: int) -> float:
    """Requests a second that a gateway of several sites has on disk, and so acknowledges."""
    environ = await asyncio.to_thread(configure, folder, broker)
    state = folder / "state"
    arguments = ["run", str(folder / "config" / "gateway.yaml"), "--state", str(state)]
    with process(arguments, environ, folder / "gateway.log", until="gateway_started"):
        await asyncio.to_thread(_connected, folder / "gateway.log")
        began = time.monotonic()
        sending = asyncio.create_task(
            send(broker, [(f"depot-{n % SITES}/smp/request", request_of(n)) for n in range(requests)])
        )
        took = await asyncio.to_thread(_stored, state, requests, began)
        await sending
    return requests / took


def configure(folder: Path, broker: Mosquitto) -> Mapping[str, str]:
    """The example with several depots and nothing else."""
    shutil.copytree(ROOT / "config", folder / "config")
    depot = (folder / "config" / "sites" / "soar-ev.yaml").read_text("utf-8")
    for path in (folder / "config" / "sites").glob("*.yaml"):
        path.unlink()
    for number in range(SITES):
        name = f"depot-{number}"
        text = depot.replace("site: soar-ev", f"site: {name}").replace("soar/", f"{name}/")
        (folder / "config" / "sites" / f"{name}.yaml").write_text(text, "utf-8")
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
        "SOAR_EV_BROKER": f"mqtt://127.0.0.1:{broker.port}",
    }
    run(["keys", "generate", str(folder / "config" / "gateway.yaml"), "--state", str(state), "--practice"], environ)
    shutil.copy(state / "pki" / "host-ca.pem", state / "pki" / "smp-ca.pem")  # of an SMP that is never there
    nobody_s = ECKey.generate_key("P-256", {"kid": "nobody", "alg": "ES256"}).as_dict(private=False)
    (state / "pki" / "smp.jwks.json").write_text(json.dumps({"keys": [nobody_s]}), "utf-8")
    return environ


def _connected(log: Path) -> None:
    deadline = time.monotonic() + 60
    while log.read_text("utf-8").count('"site_connected"') < SITES:
        if time.monotonic() > deadline:
            raise NotStarted(f"the sites did not connect: {log.read_text('utf-8')[-500:]}")
        time.sleep(0.05)


def _stored(state: Path, requests: int, began: float) -> float:
    """Seconds until every request is on disk."""
    with open_reader(state / "state" / "journal.db") as reader:
        while time.monotonic() - began < _HANG_S:
            if sum(reader.depth().messages.values()) >= requests:
                return time.monotonic() - began
            time.sleep(0.05)
    raise NotStarted("requests were lost on their way to the journal")


async def send(broker: Mosquitto, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish with QoS 1, a window at a time."""
    async with aiomqtt.Client("127.0.0.1", broker.port, max_queued_outgoing_messages=0) as client:
        client.pending_calls_threshold = 2 * _WINDOW
        for start in range(0, len(messages), _WINDOW):
            window = messages[start : start + _WINDOW]
            await asyncio.gather(*(client.publish(topic, payload, qos=1) for topic, payload in window))


def _telemetry(number: int) -> bytes:
    limits, power = {"up": number % 90, "down": 3}, {"import_kw": number % 700, "export_kw": 1.5}
    return orjson.dumps({"power": power, "soc": number % 100, "limits": limits, "at": "2026-11-25T10:00:00Z"})


def request_of(number: int) -> bytes:
    return json.dumps(
        {"id": f"R-{number}", "chargers": [{"name": f"BAY {number}", "mpan": "1100000000114", "import_kw": 150}]}
    ).encode()
