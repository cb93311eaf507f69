"""Sites that people hold: on disk with who and why, once, over every restart."""

from __future__ import annotations

from gateway.ports import Journal
from tests.contracts.journal.scenario import BATTERY, Place


async def test_a_held_site_is_held_until_it_is_released(journal: Journal) -> None:
    """Pins that holding twice is told, that the first reason stands, and that a release ends it for good."""
    assert await journal.hold_site(BATTERY, held=True, actor="operator:alice", reason="someone works on it")
    assert not await journal.hold_site(BATTERY, held=True, actor="operator:bob", reason="me too")
    held = await journal.site_holds()
    assert {site: (hold.actor, hold.reason) for site, hold in held.items()} == {
        BATTERY.site: ("operator:alice", "someone works on it")
    }
    assert await journal.hold_site(BATTERY, held=False, actor="operator:bob", reason="done")
    assert not await journal.hold_site(BATTERY, held=False, actor="operator:bob", reason="done")
    assert await journal.site_holds() == {}


async def test_a_restart_does_not_release_it(place: Place) -> None:
    """Pins that the next life knows who holds a site, since when, and why."""
    async with place.open() as journal:
        await journal.hold_site(BATTERY, held=True, actor="operator:alice", reason="someone works on it")
        before = await journal.site_holds()
    async with place.open() as journal:
        assert await journal.site_holds() == before != {}
