"""Several gateways on one database, in the moments between one that served a participant and the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from adapters.mqtt.simulator import MqttSite
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.edge.journal import postgres as postgres_module
from gateway.errors import JournalBroken
from gateway.flow import serving
from tests.adapters.fault_proxy import FaultProxy
from tests.adapters.mqtt.mosquitto import mosquitto
from tests.ports import free_ports
from tests.postgres import PostgresServer
from tests.system import test_modbus_ways as ways
from tests.system.rig import Running, holds, until
from tests.system.test_callbacks import SLOW_POLLS, awaiting, kept, sign, verdict
from tests.system.test_doubts import QUICK
from tests.system.test_mqtt import REQUEST, request, result
from tests.system.test_nodes import Cluster, cluster, serves

_SENDING, _COMMIT = b"INSERT INTO submission", b"COMMIT\0"


class _Drowsy(FaultProxy):
    """Holds back the database's answer to the commit of the first submission, and whatever it answers after that."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self._sends = False

    def rising(self, data: bytes) -> bytes:
        """See what the gateway asks."""
        self._sends = self._sends or _SENDING in data
        if self._sends and _COMMIT in data:
            self.freeze(answers_only=True)
        return data


async def asleep(many: Cluster, one: Running, proxy: _Drowsy, url: str) -> None:
    """Run a second gateway that sleeps between its commit and its send until the first has seen to the message."""
    here = many.world
    async with many.node("two", url=url) as two:
        await serves(two, "exflex")
        sequence = await here.ask("trent-chp", "TRENT 1")
        await serves(one, "exflex", "exstor")
        result = await here.plants["trent-chp"].result(sequence)
        assert result.state == state_code(State.COMPLETED)
        assert len(here.front.requests("/assets")) == 1
        proxy.thaw()
        await asyncio.Event().wait()


async def test_whoever_was_replaced_before_it_sent_sends_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    """A gateway that hears of its SENDING commit only after another one resolved that doubt ends without a POST."""
    url = postgres.fresh()
    proxy = _Drowsy(postgres.port)
    await proxy.open()
    async with cluster(tmp_path, url, timings=QUICK) as many, many.node("one", called=True) as one:
        await serves(one, "exflex", "exstor")
        with pytest.raises(BaseExceptionGroup) as ended:
            await asleep(many, one, proxy, url.replace(f":{postgres.port}/", f":{proxy.port}/"))
        assert len(many.world.front.requests("/assets")) == 1
    await proxy.close()
    assert ended.group_contains(JournalBroken, match="another gateway")
    assert many.world.effects() == ["TRENT 1"]


async def test_a_callback_is_taken_once_wherever_it_comes(postgres: PostgresServer, tmp_path: Path) -> None:
    """The same bytes at another gateway are a duplicate there, other bytes under their jti refused, also afterwards."""
    async with (
        cluster(tmp_path, postgres.fresh(), timings=SLOW_POLLS) as many,
        many.node("one", called=True) as one,
        many.node("two") as two,
    ):
        here = many.world
        await serves(two, "exflex")
        await serves(one, "exstor")
        message = await awaiting(here, one)
        body = verdict(message)
        signature = sign(here, body, jti="j" * 32)
        answers = await asyncio.gather(*(each.call_back("exstor", body, signature) for each in (two, one, two)))
        assert sorted(here.wire.receipt(answer) for _, answer in answers) == ["accepted", "duplicate", "duplicate"]
        other = verdict(message, "failed")
        for each in (one, two):
            assert (await each.call_back("exstor", other, sign(here, other, jti="j" * 32)))[0] == 409
        await one.relayed()
        assert here.plants["hams-bess"].showing().state == state_code(State.COMPLETED)
        assert [kept_body for _, kept_body in kept(here, message)] == [body]


async def test_what_nobody_tells_of_is_found(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every notification lost, a verdict that came to another gateway still reaches its site."""

    async def deaf(_database: object) -> AsyncGenerator[str, None]:
        await asyncio.Event().wait()
        yield ""

    monkeypatch.setattr(postgres_module, "hear", deaf)
    monkeypatch.setattr(serving, "_POLL_LOOKS", 2)
    async with (
        cluster(tmp_path, postgres.fresh(), timings=SLOW_POLLS) as many,
        many.node("one", called=True) as one,
        many.node("two") as two,
    ):
        here = many.world
        await serves(two, "exflex")
        await serves(one, "exstor")
        message = await awaiting(here, one)
        body = verdict(message)
        assert (await two.call_back("exstor", body, sign(here, body)))[0] == 200
        await holds(lambda: here.plants["hams-bess"].showing().state == state_code(State.COMPLETED))


async def test_what_was_free_for_long_is_shared_with_whoever_joins(postgres: PostgresServer, tmp_path: Path) -> None:
    """Behind a gateway that died elsewhere, all wait until it is given up; who joins after that gets its share."""
    url = postgres.fresh()
    async with cluster(tmp_path, url) as many:
        async with many.node("before"):
            pass
        with psycopg.connect(url, autocommit=True) as raw:  # as one leaves it that lost its power
            raw.execute(
                "INSERT INTO node (id, epoch, host, machine, process, started_at, seen_at, shares)"
                " SELECT life, life, 'there', 'there', 1, 0, 0, 1 FROM nextval('node_life') AS life"
            )
        async with many.node("one", called=True) as one:
            await serves(one, "exflex", "exstor")
            assert many.world.events("node_buried")
            async with many.node("two") as two:
                await serves(two, "exflex")
                await serves(one, "exstor")


async def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_only_who_has_the_lease_listens_and_uses_the_client_id(postgres: PostgresServer, tmp_path: Path) -> None:
    """An address and an MQTT client id have one owner at any time; what a broker kept meanwhile is answered once."""
    (listener,) = free_ports(1)
    served = ways.YAML.format(link=ways.SERVER.format(port=listener), box=ways.STANDARD, roles="")
    async with (
        mosquitto() as broker,
        MqttSite.connected("127.0.0.1", broker.port, listen=("soar/#",)) as depot,
        cluster(
            tmp_path,
            postgres.fresh(),
            more_sites={"soar-ev": {"SOAR_EV_BROKER": f"mqtt://127.0.0.1:{broker.port}"}},
        ) as many,
    ):
        here = many.world
        site = here.folder / "sites" / "itchen-bess.yaml"
        site.write_text(served.replace("participant: exstor", "participant: exflex"), "utf-8")
        here.reload()
        async with many.node("one", called=True) as one:
            await serves(one, "exflex", "exstor")
            await depot.hears("soar/smp/gateway", lambda heard: heard.payload == b"online")
            async with many.node("two") as two:
                await depot.publish(REQUEST, request("A-1", "BAY 1"))
                await serves(two, "exflex")
                await result(depot, "A-1")
                await depot.hears("soar/smp/gateway", lambda _: len(depot.heard("soar/smp/gateway")) >= 3)
                said = [heard.payload for heard in depot.heard("soar/smp/gateway")]
                assert said == [b"online", b"offline", b"online"]
                await until(partial(listens, listener))
                await two.relayed()
            await serves(one, "exflex", "exstor")
            await until(partial(listens, listener))
            await depot.publish(REQUEST, request("A-2", "BAY 2"))
            await result(depot, "A-2")
        lost = [each["reason"] for each in here.events("site_lost")]
    assert not [reason for reason in lost if "in use" in reason or "took over" in reason]
    assert sorted(here.effects()) == ["BAY 1", "BAY 2"]
    assert len(depot.heard("soar/smp/result/A-1")) == 1
