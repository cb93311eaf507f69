"""Our own OPC UA server: what a site may do there, what it is answered, and when."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from asyncua import Client, ua

from adapters.opcua.config import OpcuaConnection
from adapters.opcua.simulator import OpcuaEms
from gateway.core.message import Problem
from gateway.core.point import Quality
from gateway.core.transaction import State
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Busy, Committed, PointWrite, Reachable, Refused, ResultWrite, Session
from tests.adapters.fault_proxy import fault_proxy
from tests.adapters.opcua.server_rig import ServerRig, call, put, reading, serve, shows, submitted
from tests.system.rig import holds, until

DONE = Committed(message_id="0b1e", state=State.ACCEPTED)


@pytest.fixture
def rig() -> ServerRig:
    return ServerRig()


@pytest.fixture
async def session(rig: ServerRig) -> AsyncIterator[Session]:
    async with rig.listening() as made:
        yield made


def result(caller: str, state: str = "completed") -> Mapping[str, object]:
    errors = [{"row": 3, "ref": "A", "field": "id", "code": "X", "message": "check digit"}] if state == "failed" else []
    return {"id": caller, "message": "battery", "state": state, "errors": errors, "results": []}


def shown(number: int, caller: str, state: str = "completed") -> ResultWrite:
    return ResultWrite(to={"id": caller}, result=result(caller, state), number=number)


async def acknowledge(client: Client, number: int) -> None:
    await put(client, "SMP.Result.Acknowledge", number, ua.VariantType.UInt32)


async def sequence_is(client: Client, number: int) -> None:
    """Wait, as a SCADA does that polls it."""

    async def probe() -> bool:
        return await shows(client, "SMP.Result.Sequence") == number

    await until(probe)


# ---------------------------------------------------------------- Submit
async def test_submit_returns_after_the_commit_and_not_before(rig: ServerRig, session: Session) -> None:
    """The call hangs until the message is confirmed; then the site has its id and how far it is."""
    async with rig.client() as client:
        called = call(client, "A-1", '{"power": 12.5}')
        asked = await submitted(session)
        assert (asked.message, asked.key, asked.document) == ("battery", "A-1", {"power": Decimal("12.5")})
        assert (asked.raw, asked.reply) == (b'{"power": 12.5}', {"id": "A-1"})
        assert not called.done()
        await session.confirm(asked.receipt, DONE)
        answered = await called
    assert answered.StatusCode.is_good()
    assert [each.Value for each in answered.OutputArguments] == ["0b1e", "accepted", ""]


async def test_a_refusal_says_why(rig: ServerRig, session: Session) -> None:
    """BadInvalidArgument for the payload, with the reasons in the answer."""
    refused = Refused(problems=(Problem(row=2, field="meterPoints", code="X", message="check digit"),), message_id="7")
    async with rig.client() as client:
        called = call(client, "A-1", "[]")
        await session.confirm((await submitted(session)).receipt, refused)
        answered = await called
    assert answered.StatusCode.name == "BadInvalidArgument"
    assert [status.name for status in answered.InputArgumentResults] == ["Good", "BadInvalidArgument"]
    assert [each.Value for each in answered.OutputArguments] == ["7", "refused", "row 2 meterPoints: check digit"]


async def test_a_full_journal_says_too_many_operations(rig: ServerRig, session: Session) -> None:
    """Nothing was stored, so the site keeps its message; the same call later is taken."""
    async with rig.client() as client:
        called = call(client, "A-1", "{}")
        await session.confirm((await submitted(session)).receipt, Busy())
        assert (await called).StatusCode.name == "BadTooManyOperations"
        again = call(client, "A-1", "{}")
        await session.confirm((await submitted(session)).receipt, DONE)
        assert (await again).StatusCode.is_good()


UNBELIEVABLE = (
    ("", "{}", "no_id"),
    ("a b", "{}", "no_id"),
    ("x" * 129, "{}", "no_id"),
    ("A", "", "bad_json"),
    ("A", "1", "bad_json"),
    ("A", '{"a":1,"a":2}', "bad_json"),
    ("A", "[" * 40 + "]" * 40, "bad_json"),
    ("A", "NaN", "bad_json"),
)


async def test_what_cannot_be_believed_takes_no_id(rig: ServerRig, session: Session) -> None:
    """It is told as a fault without its id, so that it is refused, on record, and the id stays free."""
    async with rig.client() as client:
        for caller, payload, code in UNBELIEVABLE:
            called = call(client, caller, payload)
            asked = await submitted(session)
            assert asked.fault is not None
            assert (asked.fault.code, asked.key, asked.document) == (code, None, None)
            await session.confirm(asked.receipt, Refused(problems=(asked.fault,)))
            assert (await called).StatusCode.name == "BadInvalidArgument"


async def test_other_types_never_reach_the_gateway(rig: ServerRig, session: Session) -> None:
    """The library hands over whatever a client sends; two texts are what the method takes."""
    async with rig.client() as client:
        for bad in (ua.Variant(5, ua.VariantType.Int32), ua.Variant(None), ua.Variant(["a"])):
            answered = await call(client, "A", bad)
            assert answered.StatusCode.name == "BadInvalidArgument"
            assert answered.InputArgumentResults[1].name == "BadTypeMismatch"
        await put(client, "Plant.soc", 1.0, ua.VariantType.Double)
        assert [type(news).__name__ for news in await session.read()] == ["Reading"]


async def test_a_submission_comes_again_until_it_is_confirmed(rig: ServerRig, session: Session) -> None:
    """Two callers wait; the first one's message is told, and told again, before the second's."""
    async with rig.client() as one, rig.client() as other:
        first = call(one, "A", "{}")
        told = await submitted(session)
        second = call(other, "B", "{}", message="chp")
        assert await submitted(session) == told
        await session.confirm(told.receipt, DONE)
        await first
        asked = await submitted(session)
        assert (asked.message, asked.key) == ("chp", "B")
        await session.confirm(asked.receipt, DONE)
        await second


async def test_a_cut_in_mid_frame_takes_nothing_half(rig: ServerRig, session: Session) -> None:
    """Cut at several places of a call: what is told is whole, and the same call again under the same id is whole."""
    payload = json.dumps({"text": "x" * 3000})
    serving = asyncio.create_task(serve(session, DONE))
    async with fault_proxy("127.0.0.1", rig.port) as proxy:
        for budget in (5, 300, 900, 2500):
            proxy.cut_after(budget)
            with pytest.raises((OSError, TimeoutError, ua.UaError)):
                await _call_on(rig.client(proxy.port), payload)
    async with rig.client() as client:
        assert (await call(client, "A-1", payload)).StatusCode.is_good()
    serving.cancel()


async def _call_on(client: Client, payload: str) -> None:
    """Submit the same until the connection breaks."""
    async with client:
        while True:
            await call(client, "A-1", payload)


async def test_who_waits_when_the_listener_ends_is_not_told_that_it_is_stored(rig: ServerRig) -> None:
    """Its call fails, the session is finished, and the next one takes the same message on the same port."""
    async with rig.listening() as session:
        client = rig.client()
        await client.connect()
        called = call(client, "A-1", "{}")
        asked = await submitted(session)
    (told,) = await asyncio.gather(called, return_exceptions=True)
    assert not isinstance(told, ua.CallMethodResult) or not told.StatusCode.is_good()
    client.disconnect_socket()
    for use in (session.read(), session.confirm(asked.receipt, DONE), session.write([shown(1, "A-1")])):
        with pytest.raises(LinkLost):
            await use
    async with rig.listening() as session, rig.client() as client:
        called = call(client, "A-1", "{}")
        await session.confirm((await submitted(session)).receipt, DONE)
        assert (await called).StatusCode.is_good()


async def test_a_taken_address_is_a_lost_link(rig: ServerRig, session: Session) -> None:
    """Told with the address, and tried again by the runtime like any site that is away."""
    assert await _is(session, rig)
    with pytest.raises(LinkLost, match=f"cannot listen at 127.0.0.1:{rig.port}"):
        async with rig.adapter().connect():
            pass


async def _is(session: Session, rig: ServerRig) -> bool:
    async with rig.client() as client:
        await put(client, "Plant.soc", 1.0, ua.VariantType.Double)
        return (await reading(session, "soc")).value == 1


# ---------------------------------------------------------------- results
async def test_results_stand_until_they_are_acknowledged_in_order(rig: ServerRig, session: Session) -> None:
    """The second is not shown before the first was taken; its sequence is the journal's number of it."""
    async with rig.client() as client:
        first = asyncio.create_task(session.write([shown(41, "A", "failed")]))
        await sequence_is(client, 41)
        found = {name: await shows(client, f"SMP.Result.{name}") for name in ("Id", "Message", "State", "StateCode")}
        assert found == {"Id": "A", "Message": "battery", "State": "failed", "StateCode": 3}
        assert (await shows(client, "SMP.Result.ErrorCount"), await shows(client, "SMP.Result.Text")) == (
            1,
            "row 3 id: check digit",
        )
        assert json.loads(str(await shows(client, "SMP.Result.Json"))) == result("A", "failed")
        await acknowledge(client, 40)  # of another one, long ago
        assert not first.done()
        await acknowledge(client, 41)
        await first
        second = asyncio.create_task(session.write([shown(44, "B")]))
        await sequence_is(client, 44)
        await acknowledge(client, 44)
        await second


async def test_the_sequence_is_the_last_that_changes(rig: ServerRig, session: Session) -> None:
    """Whoever sees a new sequence and then reads finds the whole result."""
    async with rig.client() as client:
        orders: list[str] = []

        class Handler:
            def datachange_notification(self, node: object, value: object, _: object) -> None:
                if value not in {"", 0}:
                    orders.append(str(node).rsplit(".", 1)[-1])

        subscription = await client.create_subscription(10, Handler())
        names = ("Sequence", "Id", "State", "Json", "StateCode")
        await subscription.subscribe_data_change([client.get_node(f"ns=2;s=SMP.Result.{name}") for name in names])
        writing = asyncio.create_task(session.write([shown(5, "A")]))
        await holds(lambda: len(orders) == len(names))
        writing.cancel()
    assert orders[-1] == "Sequence"


async def test_a_repeated_result_has_the_same_number(rig: ServerRig) -> None:
    """After a restart in mid-delivery the site sees the sequence that it has already taken, and acknowledges again."""
    for _ in range(2):
        async with rig.listening() as session, rig.client() as client:
            writing = asyncio.create_task(session.write([shown(9, "A")]))
            await sequence_is(client, 9)
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing


async def test_latest_waits_for_nobody() -> None:
    """With ``latest: true`` the newest result stands, whoever has read the one before."""
    rig = ServerRig(members={"security": "None", "latest": True})
    async with rig.listening() as session, rig.client() as client:
        await session.write([shown(1, "A"), shown(2, "B")])
        assert (await shows(client, "SMP.Result.Id"), await shows(client, "SMP.Result.Sequence")) == ("B", 2)


async def test_a_result_too_long_for_an_answer_is_cut_and_says_so(rig: ServerRig, session: Session) -> None:
    """Ten thousand rows with long errors are more than one message may hold; the count stays true."""
    error = {"row": 1, "ref": "A" * 80, "field": "f", "code": "X", "message": "m" * 80}
    long = {**result("A", "partial"), "errors": [error] * 10_000}
    async with rig.client() as client:
        writing = asyncio.create_task(session.write([ResultWrite(to={}, result=long, number=3)]))
        await sequence_is(client, 3)
        found = json.loads(str(await shows(client, "SMP.Result.Json")))
        assert await shows(client, "SMP.Result.ErrorCount") == 10_000
        writing.cancel()
    assert found["cut"] is True
    assert 100 < len(found["errors"]) < 10_000


# ---------------------------------------------------------------- values
async def test_what_the_site_writes_is_read_with_its_type_and_status(rig: ServerRig, session: Session) -> None:
    """Numbers are exact decimals, a bad status is no value, another type is refused by the server."""
    async with rig.client() as client:
        for value, kind, expected in (
            (55.5, ua.VariantType.Double, Decimal("55.5")),
            (55.5, ua.VariantType.Double, Decimal("55.5")),  # the same again makes it fresh
        ):
            await put(client, "Plant.soc", value, kind)
            assert (await reading(session, "soc")).value == expected
        await put(client, "Plant.serial", "AB", ua.VariantType.String)
        assert (await reading(session, "serial")).value == "AB"
        bad = ua.DataValue(ua.Variant(1.0), ua.StatusCode(ua.UInt32(ua.StatusCodes.BadSensorFailure)))
        await client.get_node("ns=2;s=Plant.soc").write_value(bad)
        found = await reading(session, "soc")
        assert (found.quality, found.fault, found.value) == (Quality.BAD, "sensor_failure", None)
        with pytest.raises(ua.UaStatusCodeError, match="BadTypeMismatch"):
            await put(client, "Plant.soc", "55", ua.VariantType.String)
        await put(client, "Plant.soc", 1.0, ua.VariantType.Double)
        await reading(session, "soc")
    assert [name for name, _ in rig.events] == ["point_read_failed", "point_read_recovered"]


async def test_what_we_write_is_shown_as_the_type_of_the_yaml(rig: ServerRig, session: Session) -> None:
    """Refused, never clamped; before the first value the node says that there is none."""
    async with rig.client() as client:
        before = await client.get_node("ns=2;s=Plant.limit").read_data_value(raise_on_bad_status=False)
        assert before.StatusCode is not None
        assert before.StatusCode.name == "BadWaitingForInitialData"
        await session.write([PointWrite(point="limit", value=Decimal("0.1")), PointWrite(point="text", value="ok")])
        assert await shows(client, "Plant.limit") == pytest.approx(0.1)
        with pytest.raises(PointRejected, match="does not fit"):
            await session.write([PointWrite(point="state", value=Decimal(70000))])
        with pytest.raises(PointRejected, match="not for writing"):
            await session.write([PointWrite(point="soc", value=Decimal(1))])


async def test_the_heartbeat_counts_while_somebody_listens(rig: ServerRig, session: Session) -> None:
    """It stops when nobody reads the session any more, which is what the site's alarm is for."""
    async with rig.client() as client:
        reader = asyncio.create_task(session.read())
        before = await shows(client, "SMP.Heartbeat")

        async def moved() -> bool:
            return await shows(client, "SMP.Heartbeat") != before

        await until(moved)
        reader.cancel()


async def test_the_first_news_is_that_it_listens(rig: ServerRig) -> None:
    """A site that has not called yet is nothing unusual."""
    async with rig.adapter().connect() as session:
        (first,) = await session.read()
    assert isinstance(first, Reachable)


async def test_a_simulated_program_sends_reads_its_result_and_shows_values() -> None:
    """Pins the practice program against the real listener: it waits for it, keeps what is busy, takes each result."""
    rig = ServerRig()
    async with rig.listening() as session, OpcuaEms(rig.connection()) as ems:
        await ems.show({"soc": Decimal("57.5")})
        assert (await reading(session, "soc")).value == Decimal("57.5")
        with pytest.raises(ValueError, match="state"):
            await ems.show({"state": Decimal(1)})
        sending = asyncio.create_task(ems.submit("battery", "A-1", "{}"))
        asked = await submitted(session)
        await session.confirm(asked.receipt, Busy())
        asked = await submitted(session)
        await session.confirm(asked.receipt, Committed(message_id="m", state=State.ACCEPTED))
        assert (await sending).StatusCode.name == "Good"
        for number in (7, 8):
            result = {"id": "A-1", "message": "battery", "state": "completed", "errors": [], "results": []}
            writing = asyncio.create_task(session.write([ResultWrite(to=asked.reply, result=result, number=number)]))
            assert (await ems.next_result())["state"] == "completed"
            await writing
    with pytest.raises(ValueError, match="security: None"):
        OpcuaEms(replace(rig.connection(), settings=_secured()))


def _secured() -> OpcuaConnection:
    files = {name: f"file:{name}" for name in ("certificate", "key", "trust")}
    return OpcuaConnection.model_validate(
        {"role": "server", "listen": "127.0.0.1:0", "security": "Basic256Sha256/SignAndEncrypt", **files}
    )
