"""A depot on MQTT all the way: its own ids, its own JSON, results on its own topics, and nobody else disturbed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry, serialize_compact

from adapters.mqtt.simulator import Heard, MqttSite, PracticeBroker
from gateway.core.document import digest
from gateway.core.message import Hop
from gateway.core.transaction import State
from tests.ports import free_ports
from tests.system.rig import Running, world

REQUEST, MPAN = "soar/smp/request", "1100000000114"


def request(ident: str, *names: str, mpan: str = MPAN) -> dict[str, object]:
    return {"id": ident, "chargers": [{"name": name, "mpan": mpan, "import_kw": 150} for name in names]}


@asynccontextmanager
async def depot(
    folder: Path, *, keys: Sequence[ECKey] = (), sites: Callable[[str], str] = str
) -> AsyncIterator[tuple[MqttSite, Running]]:
    """A broker in this process, the depot's client, the gateway connected; with ``keys`` requests are signed."""
    (port,) = free_ports(1)
    places = {"SOAR_EV_BROKER": f"mqtt://127.0.0.1:{port}", "SOAR_EV_MQTT": "3.1.1"}
    async with (
        PracticeBroker(port),
        MqttSite.connected("127.0.0.1", port, listen=("soar/#",)) as site,
        world(folder, more_sites={"soar-ev": places}, sites=_signing if keys else sites) as here,
    ):
        public = {"keys": [key.as_dict(private=False) for key in keys]}
        (here.state / "soar-ev.jwks.json").write_text(json.dumps(public), "utf-8")
        async with here.gateway() as running:
            await site.hears("soar/smp/gateway", lambda heard: heard.payload == b"online")
            yield site, running


def _signing(site: str) -> str:
    return site.replace("status: soar/smp/gateway", "status: soar/smp/gateway\n    signed_by: file:soar-ev.jwks.json")


def signed(key: ECKey, payload: Mapping[str, object], topic: str = REQUEST) -> str:
    """What a site's own library makes of a request."""
    registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    header = {"alg": "ES256", "kid": key.kid, "aud": topic}
    return serialize_compact(header, json.dumps(payload), key, registry=registry)


async def result(site: MqttSite, ident: str, count: int = 1) -> Heard:
    topic = f"soar/smp/result/{ident}"
    return await site.hears(topic, lambda _: len(site.heard(topic)) >= count)


async def test_a_request_becomes_assets_and_the_depot_reads_the_result(tmp_path: Path) -> None:
    """One asset per element of its list, kW to MW; the result on its topic, state where the YAML writes it."""
    async with depot(tmp_path) as (site, running):
        await site.publish(REQUEST, request("A-1", "BAY 1", "BAY 2"))
        told = (await result(site, "A-1")).json
        await site.hears("soar/smp/state", lambda heard: heard.payload == b"registered")
        await running.relayed()
        (message,) = await running.messages("soar-ev")
    assert (told["id"], told["state"], told["messageId"], told["errors"]) == ("A-1", "completed", message.id, [])
    assert [each["ref"] for each in told["results"]] == ["BAY 1", "BAY 2"]
    assert running.world.effects() == ["BAY 1", "BAY 2"]
    assert b'"maxImportMw":0.150' in message.content
    assert set(message.hops) == set(Hop)


async def test_each_id_has_one_effect_and_every_question_an_answer(tmp_path: Path) -> None:
    """The same again is told the stored outcome; another content under a known id is refused."""
    async with depot(tmp_path) as (site, running):
        await site.publish(REQUEST, request("A-1", "BAY 1"))
        first = (await result(site, "A-1")).json
        await running.relayed()
        await site.publish(REQUEST, request("A-1", "BAY 1"))
        assert (await result(site, "A-1", 2)).json == first
        await site.publish(REQUEST, request("A-1", "BAY 9"))
        third = (await result(site, "A-1", 3)).json
        assert (third["state"], third["errors"][0]["code"]) == ("refused", "id_reused")
        assert running.world.effects() == ["BAY 1"]


async def test_what_is_wrong_is_refused_with_row_and_reason(tmp_path: Path) -> None:
    """Bytes that are no request, a row without its name, a wrong check digit; a Modbus site goes on beside them."""
    async with depot(tmp_path) as (site, running):
        await site.publish(REQUEST, b"\xff{")
        await site.publish(REQUEST, {"id": "A-2", "chargers": [{"name": "BAY 1", "mpan": MPAN, "import_kw": 1}, {}]})
        await site.publish(REQUEST, request("A-3", "BAY 3", mpan="1100000000115"))
        second, third = (await result(site, "A-2")).json, (await result(site, "A-3")).json
        sequence = await running.world.ask("hams-bess", "HAMS 1")
        await running.world.plants["hams-bess"].result(sequence)
        messages = await running.messages("soar-ev")
    assert {error["row"] for error in second["errors"]} == {1}
    assert third["errors"][0]["field"] == "meterPoints[0].id"
    assert [message.state for message in messages] == [State.REFUSED] * 3
    assert (messages[0].lane.message, messages[0].problems[0].code) == ("unbound", "bad_json")
    assert running.world.effects() == ["HAMS 1"]


async def test_a_site_that_signs_is_believed_by_its_keys_alone(tmp_path: Path) -> None:
    """Signed by the site's key: an asset, and the token is kept as it came; all else is refused and told why."""
    own, strange = (ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256"}) for kid in ("soar-1", "strange"))
    async with depot(tmp_path, keys=[own]) as (site, running):
        token = signed(own, request("A-1", "BAY 1"))
        await site.publish(REQUEST, token)
        assert (await result(site, "A-1")).json["state"] == "completed"
        forged = {
            "malformed": json.dumps(request("A-2", "BAY 2")),
            "unknown_key": signed(strange, request("A-2", "BAY 2")),
            "bad_signature": f"{token.rpartition('.')[0]}.{signed(own, request('A-3')).rpartition('.')[2]}",
            "audience": signed(own, request("A-2", "BAY 2"), "soar/smp/other"),
        }
        for code, payload in forged.items():
            await site.publish(REQUEST, payload)
            told = (await result(site, digest(payload.encode()))).json
            assert (told["state"], told["errors"][0]["code"]) == ("refused", code)
        await site.publish(REQUEST, signed(own, request("A-2", "BAY 2")))
        assert (await result(site, "A-2")).json["state"] == "completed"
        first, *_ = await running.messages("soar-ev")
        assert running.world.story(first.id).raw == token.encode()
    assert running.world.effects() == ["BAY 1", "BAY 2"]
