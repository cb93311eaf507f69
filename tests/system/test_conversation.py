"""One message all the way: what is on the wire, what is on disk, what the plant reads back, in which order."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from joserfc import jws
from joserfc.jwk import import_key
from joserfc.registry import HeaderParameter

from gateway.core.mailbox import state_code
from gateway.core.message import Hop
from gateway.core.transaction import State
from tests.system.rig import world
from tests.system.wire import Wire

_CRITICAL = {"iat": "int", "jti": "str", "aud": "str"}


async def test_a_request_becomes_an_asset_and_the_plant_reads_it(tmp_path: Path, wire: Wire) -> None:
    """Request, verdict, read back: the plant is told `completed`, and every hop is on record in its order."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        sequence = await here.ask("hams-bess", "HAMS 1")
        result = await here.plants["hams-bess"].result(sequence)
        await running.relayed()
        (message,) = await running.messages("hams-bess")
    assert (result.state, result.for_sequence, result.error_count) == (state_code(State.COMPLETED), sequence, 0)
    assert here.effects() == ["HAMS 1"]
    hops = message.hops
    assert set(hops) == set(Hop)
    up = [Hop.SEEN, Hop.SNAPSHOT, Hop.COMMITTED, Hop.SIGNED, Hop.SENT, Hop.ANSWERED]
    down = [Hop.CALLED_BACK, Hop.VERIFIED, Hop.SETTLED, Hop.RELAYED, Hop.READ_BACK]
    for chain in (up, down, [Hop.COMMITTED, Hop.ACKNOWLEDGED], [Hop.SENT, Hop.CALLED_BACK]):
        times = [hops[hop] for hop in chain]
        assert times == sorted(times)


async def test_an_independent_library_verifies_the_bytes_that_left(tmp_path: Path, wire: Wire) -> None:
    """The captured request verifies with joserfc over the very bytes of the journal; its header is domain.md's."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
        story = here.story(message.id)
        (seen,) = here.front.requests(wire.assets)
        members = json.loads((here.state / "pki" / "participants.jwks.json").read_text())["keys"]
    (key,) = [import_key(member) for member in members if member["participant"] == "exstor"]
    head, middle, tail = seen.signature.split(".")
    assert middle == ""
    payload = base64.urlsafe_b64encode(seen.content).rstrip(b"=").decode()
    understood = {name: HeaderParameter(name, kind, required=True) for name, kind in _CRITICAL.items()}
    registry = jws.JWSRegistry(header_registry=understood, algorithms=[wire.algorithm])
    verified = jws.deserialize_compact(f"{head}.{payload}.{tail}", key, registry=registry)
    (submission,), (attempt,) = story.submissions, story.attempts
    assert verified.payload == seen.content == submission.body
    assert seen.signature == attempt.signature
    header = verified.headers()
    assert header == {
        "alg": wire.algorithm,
        "kid": "exstor-2026-11",
        "typ": wire.tree["signature"]["typ_request"],
        "iat": attempt.iat,
        "jti": attempt.jti,
        "aud": here.front.base_url + wire.assets,
        "crit": ["iat", "jti", "aud"],
    }
    name = wire.tree["members"]["submission"]["message_id"]
    assert seen.message_id == submission.id == json.loads(seen.content)[name]
    assert seen.headers["content-type"] == wire.tree["media_types"]["signed"]


async def test_the_compact_form_carries_requests_answers_and_callbacks(tmp_path: Path) -> None:
    """Every signed body is a compact JWS, answers too: the message is completed by its callback alone."""

    def compact(text: str) -> str:
        text = text.replace("form: detached", "form: compact").replace("responses: tls", "responses: signed")
        return text.replace("signed: application/json", "signed: application/jose")

    async with world(tmp_path, profile=compact, timings={"poll_first": "60s"}) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
        (attempt,) = here.story(message.id).attempts
        (seen,) = here.front.requests("/assets")
    assert here.effects() == ["HAMS 1"]
    assert (seen.body.count(b"."), seen.headers["content-type"]) == (2, "application/jose")
    assert json.loads(attempt.answer or b"")["transactionId"] == message.transaction_id
    assert (attempt.answer_signature or "").count(".") == 2
