"""Methods of the site's server: called with the types that it declares, once, and believed only when it says Good."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from asyncua import Node, ua

from adapters.opcua.config import OpcuaPoint
from gateway.core.point import Access, PointSpec, Value
from gateway.errors import JournalBroken, LinkLost, PointRejected
from gateway.ports import PointCall, PointWrite
from tests.adapters.opcua.rig import Rig, request
from tests.adapters.opcua.test_client import connected

OBJECT, METHOD = "ns=2;s=SMP", "ns=2;s=SMP.Verdict"
TYPES = (ua.VariantType.String, ua.VariantType.UInt16, ua.VariantType.Double, ua.VariantType.LocalizedText)
ARGUMENTS = (("id", "a string"), ("row", "a number"))


class Verdict:
    """The method as the plant's program has it: what it was given, and what it answers next."""

    def __init__(self) -> None:
        self.calls: list[list[object]] = []
        self.kinds: list[ua.VariantType] = []
        self.status = ua.StatusCodes.Good
        self.silent = False

    async def ran(self, _parent: ua.NodeId, *given: ua.Variant) -> ua.StatusCode:
        self.calls.append([v.Value.Text if isinstance(v.Value, ua.LocalizedText) else v.Value for v in given])
        self.kinds = [v.VariantType for v in given]
        if self.silent:
            await asyncio.Event().wait()
        return ua.StatusCode(ua.UInt32(self.status))


def point(access: Access = Access.WRITE, method: str = METHOD) -> tuple[PointSpec, OpcuaPoint]:
    spec = PointSpec(name="tell", connection="scada", access=access)
    return spec, OpcuaPoint.model_validate({"object": OBJECT, "method": method})


async def declare(rig: Rig, types: Sequence[ua.VariantType] = TYPES, *, rank: int = -1) -> Verdict:
    """Give the plant its method, and the site a point for it."""
    server, verdict = rig.site.server, Verdict()
    assert server is not None
    folder: Node = await server.nodes.objects.add_object(ua.NodeId.from_string(OBJECT), "SMP")
    given = []
    for number, kind in enumerate(types):
        argument = ua.Argument(Name=f"a{number}", DataType=ua.NodeId(ua.Int32(kind.value)), ValueRank=ua.Int32(rank))
        given.append(argument)
    await folder.add_method(ua.NodeId.from_string(METHOD), "Verdict", verdict.ran, given, [])
    rig.methods = {"tell": point()}
    return verdict


async def call(rig: Rig, *arguments: Value | None) -> None:
    async with connected(rig) as session:
        await session.write([PointCall(point="tell", arguments=arguments)])


async def test_arguments_are_of_the_types_that_the_server_declares(rig: Rig) -> None:
    """A text that the message does not have is empty; numbers are exact in the method's own type."""
    verdict = await declare(rig)
    await call(rig, "A 17", Decimal(3), Decimal("0.1"), None)
    assert verdict.calls == [["A 17", 3, 0.1, ""]]
    assert verdict.kinds == list(TYPES)


async def test_whoever_was_replaced_calls_nothing(rig: Rig) -> None:
    """Another gateway tells the site by then."""
    verdict = await declare(rig)
    rig.tenure.left = 0
    with pytest.raises(JournalBroken):
        await call(rig, "A 17", Decimal(3), Decimal("0.1"), None)
    assert verdict.calls == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a", Decimal(70000), Decimal(1), "t"), "argument a1: 70000 would be 70000 in the node, which does not fit"),
        (("a", Decimal("1.5"), Decimal(1), "t"), "argument a1: .* is not a whole number"),
        (("a", None, Decimal(1), "t"), "argument a1: the message has no such field; give it a default"),
        (("a", "x", Decimal(1), "t"), "argument a1: 'x' is not a number"),
        ((Decimal(1), Decimal(1), Decimal(1), "t"), "1.* is not text"),
        (("a",), "the method takes 4 arguments, and the relay hands it 1"),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_called(
    rig: Rig, given: tuple[Value | None, ...], words: str
) -> None:
    """Never clamped, never rounded, never invented."""
    verdict = await declare(rig)
    with pytest.raises(PointRejected, match=words):
        await call(rig, *given)
    assert verdict.calls == []


async def test_a_type_that_no_result_has_is_refused_by_its_name(rig: Rig) -> None:
    """A method that wants a time stamp, or an array, cannot be told a result."""
    verdict = await declare(rig, [ua.VariantType.DateTime])
    with pytest.raises(PointRejected, match="argument a0 is of type i=13, as no field is"):
        await call(rig, "2026-12-01")
    assert verdict.calls == []


async def test_an_array_is_refused(rig: Rig) -> None:
    """A single value is not made into a list of one."""
    await declare(rig, [ua.VariantType.String], rank=1)
    with pytest.raises(PointRejected, match="is an array"):
        await call(rig, "a")


async def test_a_refusal_of_the_server_is_final_and_says_which_argument(rig: Rig) -> None:
    """The status is the confirmation: anything but Good means that the plant was not told; it is called once only."""
    verdict = await declare(rig, [ua.VariantType.String])
    verdict.status = ua.StatusCodes.BadUserAccessDenied
    with pytest.raises(PointRejected, match="the server refused the call: BadUserAccessDenied"):
        await call(rig, "a")
    verdict.status = ua.StatusCodes.UncertainSubNormal
    with pytest.raises(PointRejected, match="UncertainSubNormal"):
        await call(rig, "a")
    assert len(verdict.calls) == 2


async def test_a_method_that_cannot_run_now_is_called_again_later(rig: Rig) -> None:
    """ "Not now" ends the session; the relay stays, and the next session calls."""
    verdict = await declare(rig, [ua.VariantType.String])
    verdict.status = ua.StatusCodes.BadResourceUnavailable
    with pytest.raises(LinkLost, match="cannot run now"):
        await call(rig, "a")


async def test_a_method_that_never_answers_is_a_lost_link(rig: Rig) -> None:
    """Whether it ran is unknown: not delivered, so that the runtime calls again."""
    verdict = await declare(rig, [ua.VariantType.String])
    verdict.silent, rig.timeout = True, "500ms"
    with pytest.raises(LinkLost, match="did not answer in time"):
        await call(rig, "a")
    assert len(verdict.calls) == 1


async def test_only_what_is_declared_is_called(rig: Rig) -> None:
    """Without access: write nothing is called; a method holds no value; what is not there is said."""
    verdict = await declare(rig, [ua.VariantType.String])
    async with connected(rig) as session:
        with pytest.raises(PointRejected, match="is a method, which is called"):
            await session.write([PointWrite(point="tell", value="a")])
        with pytest.raises(PointRejected, match="is not a method"):
            await session.write([PointCall(point="setpoint", arguments=("a",))])
        with pytest.raises(PointRejected, match="is not a point of this connection"):
            await session.write([PointCall(point="elsewhere", arguments=("a",))])
    rig.methods = {"tell": point(Access.READ)}
    with pytest.raises(PointRejected, match="is not declared with access: write"):
        await call(rig, "a")
    rig.methods = {"tell": point(method="ns=2;s=SMP.Nowhere")}
    with pytest.raises(PointRejected, match="the server refused the call: Bad"):
        await call(rig)
    assert verdict.calls == []


async def test_a_method_beside_a_mailbox_disturbs_nothing(rig: Rig) -> None:
    """It is not read, not watched, and no part of a request's snapshot."""
    await declare(rig, [ua.VariantType.String])
    async with connected(rig) as session:
        await rig.site.request(1, {"export_limit": Decimal("12.3"), "serial": "ABC"})
        asked = await request(session)
    assert "tell" not in asked.snapshot
    assert rig.told("point_read_failed") == []
