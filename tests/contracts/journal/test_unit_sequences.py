"""Random conversations about assets and units: whose a name is, and that no unit goes before its assets are there."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.message import Created, Draft, Lane, Problem
from gateway.core.record import Adoption
from gateway.core.transaction import TERMINAL, Event, State
from gateway.core.verdict import Verdict
from gateway.ports import Journal
from tests.contracts.journal.scenario import BATTERY, UNIT_LANE, Engine, Place, callback, evidence, outgoing
from tests.contracts.journal.test_units import OTHER, assets, found, named, of, send, unit

NAMES = ("A", "B", "C")
ASKING = {State.WAITING, State.REFUSED, State.EXPIRED}


@dataclass
class Model:
    """What exists, and who asked for what."""

    rng: random.Random
    count: int = 0
    there: set[str] = field(default_factory=set)
    batches: dict[str, tuple[Draft, tuple[str, ...]]] = field(default_factory=dict)  # submission -> message, names
    messages: list[Draft] = field(default_factory=list)
    units: list[Draft] = field(default_factory=list)

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def some(self) -> tuple[str, ...]:
        return tuple(sorted(self.rng.sample(NAMES, self.rng.randint(1, 2))))


async def ask_for_assets(journal: Journal, model: Model) -> None:
    """A message is refused exactly when one of its names belongs to another lane's open message."""
    n, names, lane = model.fresh(), model.some(), model.rng.choice((BATTERY, OTHER))
    owned = {
        name
        for other in model.messages
        if other.lane != lane and (await found(journal, other)).state not in TERMINAL
        for name in (each.name for each in other.creates)
    }
    made = assets(n, *names, lane=lane)
    appended = await send(journal, made, f"s{n}")
    assert (appended.state is State.REFUSED) == bool(owned & set(names))
    model.messages.append(made)
    if appended.submission is not None:
        model.batches[f"s{n}"] = made, names


async def decide(journal: Journal, model: Model) -> None:
    if not model.batches:
        return
    submission = model.rng.choice(list(model.batches))
    made, names = model.batches.pop(submission)
    good = names if model.rng.random() < 0.6 else names[: model.rng.randint(0, len(names) - 1)]
    event = Event.SUCCESS if good == names else Event.PARTIAL_SUCCESS if good else Event.FAILURE
    created = tuple(Created(ref=name, smp_id=f"SMP-{name}") for name in good)
    problems = tuple(Problem(row=names.index(n), ref=n, code="X", message="no") for n in names if n not in good)
    model.there |= set(good)
    told = callback(f"TX-{submission}", submission, Verdict(event=event, created=created, problems=problems))
    await journal.receive(evidence(f"j{model.fresh()}", lane=made.lane), told, None)


async def ask_for_a_unit(journal: Journal, model: Model) -> None:
    n = model.fresh()
    refs = [model.rng.choice((named(model.rng.choice(NAMES)), of(BATTERY), of(OTHER))) for _ in range(2)]
    lane: Lane = replace(UNIT_LANE, message=f"unit-{n % 3}")
    made = unit(n, *refs, lane=lane, name=f"U{n}")
    await journal.append(made, None)
    model.units.append(made)


async def adopt(journal: Journal, model: Model) -> None:
    name = model.rng.choice(NAMES)
    told = await journal.adopt("test", "exstor", [Adoption(line=1, name=name)], actor="operator", detail="")
    if not told.faults:
        model.there.add(name)


async def take(journal: Journal, model: Model) -> None:
    """Send what may go; a unit's lane gives its units in order."""
    for lane in await journal.lanes():
        head = await journal.head(lane)
        assert head is not None
        name = f"s{model.fresh()}"
        taken = await journal.take(head[0].id, outgoing(name))
        if taken is not None and (made := next((m for m in model.messages if m.id == head[0].id), None)) is not None:
            model.batches[name] = made, tuple(each.name for each in made.creates)


STEPS = (ask_for_assets, ask_for_assets, decide, decide, ask_for_a_unit, adopt, take)


async def check(journal: Journal, model: Model) -> None:
    """A unit that is not WAITING or ended has all its assets; one that is WAITING lacks some."""
    for made in model.units:
        message = await found(journal, made)
        names = json.loads(message.content)["unit"].get("alignedAssets")
        if message.state not in ASKING:
            assert names
            assert set(names) <= model.there
        elif message.state is State.WAITING:
            assert names is None or not set(names) <= model.there


async def converse(place: Place, seed: int, length: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(2):
        async with place.open() as journal:
            for _ in range(length):
                await model.rng.choice(STEPS)(journal, model)
                await check(journal, model)


def test_any_conversation_about_units_keeps_the_rules(engine: Engine) -> None:
    """Names belong to one lane while it creates them, and units go with their last asset, across restarts."""

    @engine.trying(20)
    @given(seed=st.integers(0, 2**32), length=st.integers(1, 25))
    def holds(seed: int, length: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(converse(engine.place(Path(folder)), seed, length))

    holds()
