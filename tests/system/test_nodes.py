"""Several gateways on one database: each serves a part of the participants, and together they are one gateway."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.app import open_control
from gateway.core.control import PARTICIPANTS, POINTS, RELEASE, Nothing, ReleaseOrder
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.errors import ControlRefused, JournalBroken
from gateway.ports import Control
from gateway.settings.configuration import Listener
from gateway.settings.resolved import DatabaseAddress
from tests.adapters.fault_proxy import FaultProxy
from tests.ports import free_ports
from tests.postgres import PostgresServer
from tests.system.commands import smp_gateway
from tests.system.rig import OWNERS, Running, World, holds, until, world


@dataclass
class Cluster:
    """A world whose gateways share a database."""

    world: World

    @asynccontextmanager
    async def node(self, name: str, *, called: bool = False, url: str | None = None) -> AsyncIterator[Running]:
        """One more gateway, with this way to the database; the SMP's callbacks go to the one that is ``called``."""
        whole = self.world.configuration
        callbacks, health = free_ports(2)
        listen = whole.callbacks.listen if called else replace(whole.callbacks.listen, port=callbacks)
        state = self.world.state / name
        state.mkdir(exist_ok=True)
        own = replace(
            self.world,
            configuration=replace(
                whole,
                state=state,
                callbacks=replace(whole.callbacks, listen=listen),
                health=Listener(host="127.0.0.1", port=health),
                journal=whole.journal if url is None else DatabaseAddress(url=url),
            ),
        )
        async with own.gateway() as running:
            yield running


@asynccontextmanager
async def cluster(
    folder: Path,
    url: str,
    *,
    timings: Mapping[str, str] | None = None,
    more_sites: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[Cluster]:
    """The example world, and gateways that share a journal in a database."""
    async with world(folder, timings=timings, more_sites=more_sites) as here:
        (here.state / "secrets" / "journal.url").write_text(f"{url}\n")
        path = here.folder / "gateway.yaml"
        path.write_text(path.read_text("utf-8").replace("sqlite:state/journal.db", "file:secrets/journal.url", 1))
        here.reload()
        yield Cluster(here)


async def serves(running: Running, *participants: str) -> None:
    """Wait until a gateway serves these, and no others."""

    async def probe() -> bool:
        sight = await running.gateway.journal.leases.look()
        return {name for _, name in sight.mine} == set(participants)

    await until(probe)


async def gone(control: Control, site: str) -> bool:
    """Whether a gateway has stopped a site."""
    try:
        await control.ask(POINTS, Nothing(), site=site)
    except ControlRefused:
        return True
    return False


async def test_two_gateways_share_the_participants(postgres: PostgresServer, tmp_path: Path) -> None:
    """The second takes over one of two; requests, verdicts and results of both go their way, over one's callbacks."""
    async with cluster(tmp_path, postgres.fresh()) as many, many.node("one", called=True) as one:
        here = many.world
        await serves(one, "exflex", "exstor")
        first = await here.plants["trent-chp"].result(await here.ask("trent-chp", "TRENT 1"))
        async with many.node("two") as two:
            await serves(two, "exflex")
            await serves(one, "exstor")
            sequences = {site: await here.ask(site, f"{site} 2") for site in OWNERS}
            results = {site: await here.plants[site].result(sequence) for site, sequence in sequences.items()}
            assert {each.state for each in (first, *results.values())} == {state_code(State.COMPLETED)}
            await two.relayed()
            handed = here.events("participant_handed_over")
        await serves(one, "exflex", "exstor")
        again = await here.plants["trent-chp"].result(await here.ask("trent-chp", "TRENT 3"))
        assert again.state == state_code(State.COMPLETED)
    assert len(handed) == 1
    assert Counter(here.effects()) == Counter(["TRENT 1", *(f"{site} 2" for site in OWNERS), "TRENT 3"])
    logins = Counter(each["participant"] for each in here.events("login_succeeded"))
    assert logins == {"exflex": 3, "exstor": 1}


async def test_what_is_under_way_is_finished_before_it_is_handed_over(postgres: PostgresServer, tmp_path: Path) -> None:
    """A gateway that joins while an answer is outstanding waits for it: one arrival, no doubt, nobody logs in twice."""
    async with cluster(tmp_path, postgres.fresh()) as many, many.node("one", called=True) as one:
        here = many.world
        await serves(one, "exflex", "exstor")
        here.front.gate.clear()
        sequence = await here.ask("trent-chp", "TRENT 1")
        await one.reaches("trent-chp", State.SENDING)
        async with many.node("two") as two:
            async with open_control(one.world.configuration) as control:
                await until(lambda: gone(control, "trent-chp"))
            await serves(one, "exflex", "exstor")  # its plant is let go, its lease is not before the answer came
            here.front.gate.set()
            await serves(two, "exflex")
            assert (await here.plants["trent-chp"].result(sequence)).state == state_code(State.COMPLETED)
            await two.relayed()
            (message,) = await two.messages("trent-chp")
            states = [row.to_state for row in here.story(message.id).audit if row.to_state is not None]
    assert states == [State.ACCEPTED, State.SENDING, State.AWAITING, State.COMPLETED]
    assert len([each for each in here.front.seen if each.path == "/assets"]) == 1


async def cut_off(many: Cluster, one: Running, proxy: FaultProxy, url: str) -> None:
    """Run a second gateway, cut it off until the first one has taken over, and let it find out."""
    here = many.world
    async with many.node("two", url=url) as two:
        await serves(two, "exflex")
        await holds(lambda: len(here.events("site_connected", site="trent-chp")) == 2)
        await proxy.vanish()
        await serves(one, "exflex", "exstor")
        sequence = await here.ask("trent-chp", "TRENT 1")
        result = await here.plants["trent-chp"].result(sequence)
        assert result.state == state_code(State.COMPLETED)
        lines = [json.loads(line) for line in here.log.getvalue().splitlines()]
        news = [each["event"] for each in lines if each.get("site", "trent-chp") == "trent-chp"]
        assert news.count("site_connected") == 3
        assert news[news.index("plants_let_go") :].count("site_connected") == 1
        await proxy.open()
        await asyncio.Event().wait()


async def test_whoever_loses_the_database_lets_go_of_its_plants_first(postgres: PostgresServer, tmp_path: Path) -> None:
    """Cut off for as long as others need to take over, it is not connected any more when they are, and then it ends."""
    url = postgres.fresh()
    proxy = FaultProxy("127.0.0.1", postgres.port)
    await proxy.open()
    async with cluster(tmp_path, url) as many, many.node("one", called=True) as one:
        here = many.world
        await serves(one, "exflex", "exstor")
        with pytest.raises(BaseExceptionGroup) as ended:
            await cut_off(many, one, proxy, url.replace(f":{postgres.port}/", f":{proxy.port}/"))
    await proxy.close()
    assert ended.group_contains(JournalBroken, match="another gateway")
    assert here.effects() == ["TRENT 1"]


async def test_people_see_who_serves_whom_and_ask_there(postgres: PostgresServer, tmp_path: Path) -> None:
    """`nodes` shows every gateway with its sites; one that does not serve a participant says so and does nothing."""
    async with (
        cluster(tmp_path, postgres.fresh()) as many,
        many.node("one", called=True) as one,
        many.node("two") as two,
    ):
        here = many.world
        await serves(two, "exflex")
        config = str(here.folder / "gateway.yaml")
        code, out, err = await smp_gateway("nodes", config, "--state", str(here.state), environ=here.environ)
        assert (code, err) == (0, "")
        first, *others = out.splitlines()
        assert first.startswith("node 1 on ")
        assert [line.split() for line in others if line.startswith("  ")] == [
            ["test/exstor", "hams-bess,", "solent-bess"],
            ["test/exflex", "trent-chp"],
        ]
        code, out, _ = await smp_gateway("nodes", config, "--state", str(here.state), "--json", environ=here.environ)
        assert [node["serves"] for node in json.loads(out)["nodes"]] == [[["test", "exstor"]], [["test", "exflex"]]]
        async with open_control(one.world.configuration) as control:
            with pytest.raises(ControlRefused, match="another gateway serves participant exflex"):
                await control.ask(RELEASE, ReleaseOrder(reason="mended"), participant="exflex")
            listed = await control.ask(PARTICIPANTS, Nothing())
        assert {each.participant: each.served for each in listed.participants} == {"exflex": False, "exstor": True}
