"""A depot behind a real mosquitto and a bad network: what the broker took has one effect, and its result comes back."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.mqtt.simulator import MqttSite
from tests.adapters.fault_proxy import FaultProxy, fault_proxy
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.system.rig import Running, holds, world

MPAN = "1100000000114"
RESULTS = "soar/smp/result/"


@dataclass
class Depot:
    """The plant's own clients, beside the proxy: what it asked for, in order, and what it was told."""

    broker: Mosquitto
    running: Running
    asked: list[str] = field(default_factory=list)
    told: int = 0  # of those asked
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def ask(self, count: int = 2) -> None:
        """Publish requests; each is in the broker's hands when this returns."""
        async with self._client("depot-out", "soar/nothing") as site:
            for number in itertools.islice(self.numbers, count):
                charger = {"name": f"BAY {number}", "mpan": MPAN, "import_kw": 150}
                await site.publish("soar/smp/request", {"id": f"R-{number}", "chargers": [charger]})
                self.asked.append(f"R-{number}")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen until every request has its result; between two of these the broker keeps what comes."""
        async with self._client("depot-in", f"{RESULTS}+") as site:
            yield
            for ident in self.asked[self.told :]:
                assert (await site.hears(RESULTS + ident)).json["state"] == "completed"
            self.told = len(self.asked)

    async def sees_us(self) -> None:
        """Wait until the broker's kept status says that the gateway is there."""
        async with self._client("depot-status", "soar/smp/gateway") as site:
            await site.hears("soar/smp/gateway", lambda heard: heard.payload == b"online")

    def _client(self, identifier: str, listen: str) -> AbstractAsyncContextManager[MqttSite]:
        port = self.broker.port
        return MqttSite.connected("127.0.0.1", port, listen=(listen,), identifier=identifier, clean_session=False)


def quick(site: str) -> str:
    """Let the gateway notice a silent broker within a second or two."""
    return site.replace("status: soar/smp/gateway", "status: soar/smp/gateway\n    keepalive: 1s\n    timeout: 1s")


async def again(proxy: FaultProxy, before: int) -> None:
    """Wait until the gateway has tried to connect once more."""
    await holds(lambda: proxy.connections > before)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_whatever_the_network_does_nothing_acknowledged_is_lost(tmp_path: Path, version: str) -> None:
    """Cut in mid-frame, sliced, frozen, the broker stopped: each request has one effect, in order, and its result."""
    async with mosquitto() as broker, fault_proxy("127.0.0.1", broker.port) as proxy:
        places = {"SOAR_EV_BROKER": f"mqtt://127.0.0.1:{proxy.port}", "SOAR_EV_MQTT": version}
        async with (
            world(tmp_path, more_sites={"soar-ev": places}, sites=quick) as here,
            here.gateway() as running,
        ):
            depot = Depot(broker, running)
            await depot.sees_us()
            async with depot.listening():
                proxy.cut_after(3)
                await depot.ask()
                await again(proxy, 1)
                before = proxy.connections
                proxy.cut_after(150)
                await depot.ask(4)
                await again(proxy, before)
                proxy.slices = 1
                await depot.ask()
            proxy.slices = 0
            frozen = proxy if version == "5" else broker
            async with depot.listening():
                before = proxy.connections
                await depot.ask()
                frozen.freeze()
                await again(proxy, before)
                frozen.thaw()
            await depot.ask()
            await broker.stop()
            await broker.start()
            async with depot.listening():
                await depot.ask()
            await running.relayed()
            messages = await running.messages("soar-ev")
    assert here.effects() == [f"BAY {number}" for number in range(len(depot.asked))]
    assert len(messages) == len(depot.asked)
