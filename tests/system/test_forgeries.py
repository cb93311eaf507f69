"""No forged and no replayed callback is believed, in any form of a signature, through the real listener and journal."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from gateway.app import adapters
from gateway.core.profile import Profile
from gateway.core.transaction import State
from gateway.edge.callbacks import CallbackRoute, callback_server
from gateway.flow.account import Account, Identity
from gateway.flow.gate import Gate
from gateway.flow.keyring import FiledKeys
from gateway.flow.receiver import Receiver
from gateway.flow.signals import Signals
from gateway.ports import Journal
from gateway.settings.configuration import load
from gateway.settings.example import example_configuration
from gateway.telemetry import Telemetry
from tests.contracts.journal.scenario import BATTERY, START, Place, accepted, sent, sqlite, state_of
from tests.edge.wire import server_side
from tests.system.forgeries import FORGERS, ORDER, Genuine, Parts, Request, b64, coordinates, forgeries, raw_signature

FORMS = ("detached", "compact", "flattened")
COUNT = 2_010  # per form
URL_OF_OURS = "https://host.example"
SMP, LIVE_SMP = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
NOW_S = START // 1_000_000


def profile(form: str) -> Profile:
    configuration = load(
        example_configuration() / "gateway.yaml", adapters=adapters(), state=Path("/nowhere"), environ={}
    )
    made = configuration.environments["test"].profile
    signature = made.signature.model_copy(update={"form": form, "algorithms": ("ES256",)})
    return made.model_copy(update={"signature": signature})


def published(key: ec.EllipticCurvePrivateKey, kid: str) -> bytes:
    jwk = {"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", **coordinates(key)}
    return json.dumps({"keys": [jwk]}).encode()


class Unused:
    """What an account needs for sending; nothing here sends."""

    degraded = ()
    key_id = "unused"

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - stands for several seams
        raise AssertionError(f"{name} was used")


@dataclass
class House:
    """The listener, the receiver and a journal in which one message of exstor waits for its verdict."""

    form: str
    place: Place
    authority: trustme.CA
    journal: Journal
    session: aiohttp.ClientSession
    port: int = 0
    answers: Counter[int] = field(default_factory=Counter)

    async def send(self, request: Request) -> tuple[int, dict[str, Any]]:
        headers = [("Content-Type", "application/json"), *(("X-JWS-Signature", value) for value in request.signatures)]
        url = URL(f"https://127.0.0.1:{self.port}{request.path}", encoded=True)
        async with self.session.post(url, data=request.body, headers=headers) as answer:
            self.answers[answer.status] += 1
            return answer.status, json.loads(await answer.read())

    def genuine(self, *, participant: str = "exstor", iat: int = NOW_S, status: str = "Success") -> Genuine:
        path = f"/smp/v1/callbacks/{participant}"
        header = {"alg": "ES256", "kid": "smp-key", "typ": "smp-callback+jws", "iat": iat, "jti": "one"}
        header |= {"aud": URL_OF_OURS + path, "crit": ["iat", "jti", "aud"]}
        document = {"messageId": "c7", "messageType": "TransactionResult", "issuedAt": "2026-11-23T10:15:30Z"}
        document |= {"participant": participant, "transactionId": "TX-1", "status": status, "notification": "Success"}
        return Genuine(self.form, path, header, json.dumps(document).encode(), SMP)

    def stored(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every table."""
        connection = apsw.Connection(str(self.place.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {table: list(connection.execute(f'SELECT * FROM "{table}"')) for table in tables}
        finally:
            connection.close()


@asynccontextmanager
async def house(folder: Path, form: str, authority: trustme.CA, *, again: Place | None = None) -> AsyncIterator[House]:
    """Open it; with ``again`` it is a restart on the same journal."""
    place = again or sqlite(folder)
    wire, telemetry = profile(form), Telemetry(level="critical")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with (
        place.open() as journal,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
    ):
        inside = House(form, place, authority, journal, session)
        if again is None:
            await sent(journal, 1, "first", BATTERY)
            await journal.settle("first", 1, accepted("TX-1"))
        keys = {"test": FiledKeys(lambda: published(SMP, "smp-key"), issuer="test")}
        keys["live"] = FiledKeys(lambda: published(LIVE_SMP, "smp-key"), issuer="live")
        homes = {"exstor": "test", "exflex": "test", "exlive": "live"}
        accounts = {who: account(wire, who, home, keys[home], place=place) for who, home in homes.items()}
        receiver = Receiver(journal, accounts, signals=Signals(), clock=place.clock, telemetry=telemetry)
        route = CallbackRoute(
            path="/smp/v1/callbacks/{participant}", signature_header="X-JWS-Signature", size_limit=65536
        )
        async with callback_server(
            "127.0.0.1",
            0,
            server_side(authority),
            routes=[route],
            handler=receiver.receive,
            clock=place.clock,
            event=telemetry.emit,
            broken=lambda error: pytest.fail(str(error)),
        ) as door:
            inside.port = door.port
            yield inside


def account(wire: Profile, who: str, home: str, keys: FiledKeys, *, place: Place) -> Account:
    identity = Identity(
        participant=who,
        environment=home,
        profile=wire,
        base_url="https://smp.example/api",
        callback_audience=URL_OF_OURS + wire.paths.callback_of(who),
        username=who,
        password="unused",
    )
    return Account(
        identity,
        transport=Unused(),
        signer=Unused(),
        callback_keys=keys,
        gate=Gate(home, clock=place.clock, entropy=Unused(), event=lambda *_, **__: None),
        clock=place.clock,
        entropy=Unused(),
        event=lambda *_, **__: None,
    )


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("form", FORMS)
async def test_no_forgery_is_believed_and_none_changes_anything(
    tmp_path: Path, authority: trustme.CA, form: str
) -> None:
    """Thousands of altered, stolen and misdirected callbacks: none answered 200, not one row of the journal moves."""
    async with house(tmp_path, form, authority) as inside:
        before = inside.stored()
        kinds: Counter[str] = Counter()
        for kind, request in forgeries(inside.genuine(), 20261125, COUNT):
            kinds[kind] += 1
            status, said = await inside.send(request)
            assert status in {400, 401, 404}, (kind, status, said, request)
        assert min(kinds.values()) >= COUNT // len(FORGERS)
        assert inside.answers[401] > COUNT * 9 // 10
        assert inside.stored() == before
        assert await state_of(inside.journal, 1) is State.AWAITING
        assert (await inside.send(inside.genuine().parts().request()))[0] == 200
        assert await state_of(inside.journal, 1) is State.COMPLETED


@pytest.mark.parametrize("form", FORMS)
async def test_another_environments_and_another_participants_callbacks_decide_nothing(
    tmp_path: Path, authority: trustme.CA, form: str
) -> None:
    """The live SMP's key under the same key id, and what was signed for others' addresses: 401, nothing stored."""
    async with house(tmp_path, form, authority) as inside:
        before = inside.stored()
        genuine = inside.genuine()
        live = genuine.parts(sign=lambda data: raw_signature(LIVE_SMP, data))
        foreign = [live, inside.genuine(participant="exlive").parts()]
        for who in ("exflex", "exlive"):
            parts = inside.genuine(participant=who).parts()
            foreign.append(Parts(form, genuine.path, parts.body, parts.protected, parts.payload, parts.signature))
        for parts in foreign:
            assert (await inside.send(parts.request()))[0] == 401
        assert inside.stored() == before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("skew_s", "status"), [(-301, 401), (-300, 401), (-299, 200), (299, 200), (301, 401)])
async def test_a_replay_has_no_second_effect(
    tmp_path: Path, authority: trustme.CA, form: str, skew_s: int, status: int
) -> None:
    """At once, again, later, after a restart, elsewhere: the first answer stands, one row, one effect."""
    async with house(tmp_path, form, authority) as inside:
        inside.place.clock.at = START
        genuine = inside.genuine(iat=NOW_S + skew_s)
        request = genuine.parts().request()
        elsewhere = Request("/smp/v1/callbacks/exflex", request.body, request.signatures)
        first = await inside.send(request)
        assert first[0] == status
        if status == 200:
            assert first[1]["ack"] == "Accepted"
        kept = len(inside.stored()["callback"])
        assert kept == 1
        for _ in range(3):
            again = await inside.send(request)
            assert again[0] == status
            assert again[1].get("ack") in {None, "Duplicate"}
            assert (await inside.send(elsewhere))[0] == 401
        inside.place.clock.at = START + 3_600_000_000
        assert (await inside.send(request))[0] == status
        state = await state_of(inside.journal, 1)
        assert state is (State.COMPLETED if status == 200 else State.AWAITING)
        stored = inside.stored()["callback"]
    async with house(tmp_path, form, authority, again=inside.place) as reopened:
        assert (await reopened.send(request))[0] == status
        assert (await reopened.send(elsewhere))[0] == 401
        assert reopened.stored()["callback"] == stored
        assert await state_of(reopened.journal, 1) is state


@pytest.mark.parametrize("form", FORMS)
async def test_the_other_good_signature_of_the_same_bytes_is_a_duplicate(
    tmp_path: Path, authority: trustme.CA, form: str
) -> None:
    """ECDSA lets anybody turn s into n - s: the content and its jti are the SMP's own, and have no second effect."""
    async with house(tmp_path, form, authority) as inside:
        twin = b""

        def sign(data: bytes) -> bytes:
            nonlocal twin
            good = raw_signature(SMP, data)
            twin = good[:32] + (ORDER - int.from_bytes(good[32:], "big")).to_bytes(32, "big")
            return good

        parts = inside.genuine().parts(sign=sign)
        assert (await inside.send(parts.request()))[1]["ack"] == "Accepted"
        rows = inside.stored()
        other = Parts(form, parts.path, parts.body, parts.protected, parts.payload, b64(twin))
        assert (await inside.send(other.request()))[1]["ack"] == "Duplicate"
        assert inside.stored() == rows


async def test_one_jti_for_two_bodies_is_a_conflict_that_changes_nothing(tmp_path: Path, authority: trustme.CA) -> None:
    """The SMP's own key under a jti that it used before: 409, and the first verdict stands."""
    async with house(tmp_path, "detached", authority) as inside:
        await inside.send(inside.genuine().parts().request())
        rows = inside.stored()
        assert (await inside.send(inside.genuine(status="Failed").parts().request()))[0] == 409
        assert inside.stored() == rows
