"""Events and methods of node-opcua, an OPC UA stack by other people: what it tells, and what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.opcua.config import OpcuaPoint, OpcuaTrigger
from gateway.core.point import Access, PointSpec
from gateway.errors import PointRejected
from gateway.ports import Committed, PointCall, Session, Submitted
from tests.adapters.opcua.rig import Rig
from tests.peers.opcua_plant import NodeOpcuaPlant, node_opcua_plant
from tests.peers.test_node_opcua import rigged

SMP = "ns=2;s=SMP"
FIELDS = {"text": "Message", "mw": "2:ExportLimit"}


@pytest.fixture
async def plant(node: str, tmp_path: Path) -> AsyncIterator[NodeOpcuaPlant]:
    async with node_opcua_plant(node, tmp_path) as made:
        yield made


def asks(rig: Rig, **members: object) -> None:
    rig.triggers = {
        "unit": OpcuaTrigger.model_validate(
            {"event": "ns=2;s=UnitReadyEventType", "source": SMP, "fields": FIELDS, **members}
        )
    }


async def told(session: Session) -> Submitted:
    """The oldest event that waits, confirmed."""
    while True:
        for item in await session.read():
            if isinstance(item, Submitted):
                await session.confirm(item.receipt, Committed())
                return item


async def test_events_of_a_type_and_its_subtypes(plant: NodeOpcuaPlant) -> None:
    """A server that we did not write understands the filter; it says which field no event has, and tells the others."""
    async with rigged(plant) as rig:
        asks(rig)
        async with rig.adapter().connect() as session:
            await plant.order(alarm="of no interest")
            await plant.order(happens={"message": "ready", "ExportLimit": 0.1})
            await plant.order(happens={"message": "soon", "ExportLimit": 2, "subtype": True})
            first, second = await told(session), await told(session)
        assert rig.told("site_events_failed") == []
        asks(rig, fields={**FIELDS, "nothing": "2:Nowhere"})
        async with rig.adapter().connect() as session:
            await plant.order(happens={"message": "ready", "ExportLimit": 0.1})
            third = await told(session)
    assert first.document == {"text": "ready", "mw": Decimal("0.1")}
    assert second.document == {"text": "soon", "mw": Decimal(2)}
    assert third.document == {"text": "ready", "mw": Decimal("0.1"), "nothing": None}
    assert first.key != second.key
    assert rig.told("site_events_failed")[0]["reason"] == "the server's events have no nothing"


async def test_a_condition_is_told_again_under_its_old_id_and_a_method_is_called(plant: NodeOpcuaPlant) -> None:
    """ConditionRefresh: what is still so is not lost with the link. A call is of the types that the server declares."""
    async with rigged(plant) as rig:
        asks(rig, event="i=2881", fields={"text": "Message", "severity": "Severity"}, refresh=True)
        async with rig.adapter().connect() as session:
            await plant.order(alarm="held")
            first = await told(session)
        async with rig.adapter().connect() as session:
            again = await told(session)
    assert first.document == {"text": "held", "severity": 700}
    assert (again.key, again.raw) == (first.key, first.raw)
    assert rig.told("site_events_failed") == []
    await _calls(plant)


async def _calls(plant: NodeOpcuaPlant) -> None:
    spec = PointSpec(name="tell", connection="scada", access=Access.WRITE)
    place = OpcuaPoint.model_validate({"object": SMP, "method": "ns=2;s=SMP.Told"})

    async def tell(session: Session, *arguments: Decimal | str | None) -> Sequence[object]:
        await session.write([PointCall(point="tell", arguments=arguments)])
        return await plant.called()

    async with rigged(plant) as rig:
        rig.methods = {"tell": (spec, place)}
        async with rig.adapter().connect() as session:
            assert await tell(session, Decimal(7), "completed", None) == [7, "completed", ""]
            with pytest.raises(PointRejected, match="does not fit into Uint32"):
                await tell(session, Decimal(-1), "completed", None)
            await plant.order(answer="BadInvalidState")
            with pytest.raises(PointRejected, match="BadInvalidState"):
                await tell(session, Decimal(8), "failed", "check digit")
            assert await plant.called() == [8, "failed", "check digit"]
