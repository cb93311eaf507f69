"""One subscriber of the MQTT bench: the adapter, or the bare library doing the same; prints the seconds that it took.

python -m tests.bench.mqtt_taker adapter|bare|requests PORT
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiomqtt
import jmespath
import orjson

from gateway.core.point import Reading
from tests.adapters.mqtt.rig import Rig
from tests.bench.mqtt import LAST, TOPICS, VALUES


async def bare(port: int, topic: str, paths: tuple[str, ...]) -> float:
    """Take everything until the last message, and pick these values of it."""
    picks = [jmespath.compile(path) for path in paths]
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe([(topic, 1), (LAST, 1)])
        print("ready", flush=True)  # noqa: T201 - to the bench
        began = 0.0
        async for message in client.messages:
            began = began or time.monotonic()
            if str(message.topic) == LAST:
                break
            document = orjson.loads(bytes(message.payload))
            for pick in picks:
                pick.search(document)
    return time.monotonic() - began


async def adapter(port: int) -> float:
    """Read everything until the last message, as the gateway does."""
    points: dict[str, dict[str, object]] = {
        f"t{topic}v{place}": {"topic": f"bench/{topic}", "path": path, "type": "number", "qos": 1}
        for topic in range(TOPICS)
        for place, path in enumerate(VALUES)
    }
    rig = Rig(port, {"keepalive": "15s", "timeout": "10s"}, points | {"last": {"topic": LAST, "qos": 1}}, triggers={})
    async with rig.adapter().connect() as session:
        await session.read()
        print("ready", flush=True)  # noqa: T201 - to the bench
        began = 0.0
        while True:
            news = await session.read()
            began = began or time.monotonic()
            if any(isinstance(each, Reading) and each.point == "last" for each in news):
                return time.monotonic() - began


def main(who: str, port: int) -> None:
    """Take, and tell how long it took."""
    takers = {
        "adapter": lambda: adapter(port),
        "bare": lambda: bare(port, "bench/+", VALUES),
        "requests": lambda: bare(port, "+/smp/request", ("id",)),
    }
    print(asyncio.run(takers[who]()), flush=True)  # noqa: T201 - to the bench


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
