"""One seeded simulation: hours of traffic and trouble, then quiet; what must be true at each step, and in the end."""

from __future__ import annotations

import asyncio
import io
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.app import adapters
from gateway.core.acts import Act
from gateway.core.control import ActOrder
from gateway.core.jwk import public_key_from_jwk
from gateway.core.transaction import TERMINAL, TRANSITIONS, Event, State
from gateway.edge.keys import PemSigner
from gateway.flow import reconciler
from gateway.settings.configuration import Configuration, load
from gateway.telemetry import Telemetry
from tests.flow.virtual import VirtualLoop
from tests.simulation.host import Host, remember
from tests.simulation.plant import Plant
from tests.simulation.smp import Smp

EXAMPLE = Path(__file__).parents[2] / "config" / "gateway.yaml"
SITES = {"soar-ev": "exflex", "avon-ev": "exflex", "tees-ev": "exstor"}  # all of the one example file that speaks so
HOUR_S = 3600.0
QUIET_S = 2 * HOUR_S  # within which everything must be over once nothing goes wrong any more
KILLED, MOMENT_S = 0.05, 0.15  # how likely each message sent or acknowledged is the last of a life, and how soon
PEOPLE_S = 300.0  # between two looks of an operator
REGRET_S, WITHDRAWN = 60.0, 0.3  # how long people look away from what waits to be sent, and how likely they withdraw it
IDLE_S = 30.0  # between two looks at nothing, which are most of what an hour holds
BASE_URL, HOST_URL = "https://smp.example", "https://host.example"
# What an SMP offers to find out what became of a submission: each way alone, and all of them.
WAYS = (("status_by_submission", "echo_submission", "deduplicates"), ("status_by_submission",), ("deduplicates",), ())


class Broken(AssertionError):
    """A promise was not kept; the seed tells the story again."""


@dataclass(kw_only=True)
class Outcome:
    """What a simulation was like."""

    seed: int
    hours: float
    messages: Counter[str] = field(default_factory=Counter)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)  # (state before, event)
    faults: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        ends, faults = (
            ", ".join(f"{count} {name}" for name, count in sorted(each.items()))
            for each in (self.messages, self.faults)
        )
        return (
            f"seed {self.seed}: {self.messages.total()} messages ({ends}) in {self.hours:g} h;"
            f" {self.faults.total()} faults ({faults})"
        )


def simulate(seed: int, hours: float, folder: Path) -> Outcome:
    """Tell the story of this seed.

    Raises:
        Broken: an invariant of assurance.md section 7 does not hold.
    """
    configuration = load(EXAMPLE, adapters=adapters(), state=folder, environ={})
    idle = patch.object(reconciler, "_LONGEST_SLEEP_S", IDLE_S)
    with idle, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_task_factory(remember)
        return runner.run(_Story(seed, hours, folder, configuration).tell())


class _Story:
    def __init__(self, seed: int, hours: float, folder: Path, configuration: Configuration) -> None:
        self.dice = dice = random.Random(seed)
        self.outcome = Outcome(seed=seed, hours=hours)
        profile = configuration.environments["test"].profile
        ways = WAYS[seed % len(WAYS)]
        offered = profile.capabilities.model_copy(
            update={
                "status_by_submission": "status_by_submission" in ways,
                "echo_submission": "echo_submission" in ways,
                "deduplicates": profile.capabilities.deduplicates.model_copy(update={"assets": "deduplicates" in ways}),
            }
        )
        profile = profile.model_copy(update={"capabilities": offered})
        signers = {name: _signer(name) for name in {*SITES.values(), "smp"}}
        one = configuration.sites["soar-ev"]
        sites = {name: replace(one, site=name, participant=owner) for name, owner in SITES.items()}
        self.plants = {name: Plant(name, random.Random(dice.random()), lossy=0.02) for name in SITES}
        self.smp = Smp(
            profile,
            signers.pop("smp"),
            random.Random(dice.random()),
            base_url=BASE_URL,
            audience=lambda name: HOST_URL + profile.paths.callback_of(name),
        )
        key = public_key_from_jwk(self.smp.signer.public_jwk, issuer="test", purpose="callback")
        self.host = Host(
            folder / "journal.db",
            profile,
            sites,
            self.plants,
            self.smp,
            key,
            signers,
            random.Random(dice.random()),
            Telemetry(stream=io.StringIO()),
        )
        self.smp.on_sent = self._sent
        for plant in self.plants.values():
            plant.on_acknowledged = self._acknowledged

    async def tell(self) -> Outcome:
        end = asyncio.get_running_loop().time() + self.outcome.hours * HOUR_S
        self.kill = asyncio.Event()
        people = [asyncio.ensure_future(each) for each in (self._decide(), self._withdraw())]
        asking = [asyncio.ensure_future(self._ask(plant, end)) for plant in self.plants.values()]
        while (left := end - asyncio.get_running_loop().time()) > 0:
            self.kill.clear()
            async with self.host.living():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.kill.wait(), left)
            self.outcome.faults["killed"] += 1
            await asyncio.sleep(self.dice.random() * 30)
        await asyncio.gather(*asking)
        self.smp.lossy = False
        for plant in self.plants.values():
            plant.lossy, plant.down_until = 0.0, 0.0
        async with self.host.living():
            await self._drained()
            self._judge()
        for each in people:
            each.cancel()
        self.outcome.faults.update(self.smp.met)
        return self.outcome

    async def _ask(self, plant: Plant, end: float) -> None:
        """Ask every few minutes, now and then for a name that is taken; the plant's network goes away at times."""
        loop, names = asyncio.get_running_loop(), list[str]()
        while True:
            await asyncio.sleep(self.dice.expovariate(1 / 400))
            if loop.time() >= end:
                return
            for _ in range(self.dice.choice((1, 1, 1, 2, 5))):
                name = self.dice.choice(names) if names and self.dice.random() < 0.15 else f"{plant.site} {len(names)}"
                names.append(name)
                plant.ask(name, mistyped=self.dice.random() < 0.05)
            if self.dice.random() < 0.1:
                plant.down_until = loop.time() + self.dice.random() * 900
                self.outcome.faults["plant_away"] += 1

    async def _decide(self) -> None:
        """What people do about what is escalated: they look into the SMP, twice, and say what they saw."""
        before: set[str] = set()
        while True:
            await asyncio.sleep(PEOPLE_S)
            if self.host.act is None:
                continue
            escalated = self._rows(
                "SELECT p.message_id, s.id FROM submission s JOIN part p ON p.submission_id = s.id"
                " WHERE s.state = 'escalated'"
            )
            for message_id, ident in escalated:
                order = self._order_for(ident)
                if order is not None and ident in before and self.host.act is not None:
                    await self.host.act(message_id, order)
            before = {ident for _, ident in escalated}

    async def _withdraw(self) -> None:
        """What people do about what is not sent yet: now and then nobody wants it any more."""
        while True:
            await asyncio.sleep(self.dice.random() * REGRET_S)
            for (message_id,) in self._rows("SELECT id FROM message WHERE state = 'accepted'"):
                if self.dice.random() < WITHDRAWN and self.host.act is not None:
                    await self.host.act(message_id, ActOrder(act=Act.REFUSE, reason="nobody wants it any more"))

    def _order_for(self, ident: str) -> ActOrder | None:
        """What somebody orders who looked at a submission in the SMP; nothing while that is at work on it."""
        seen = next((each for each in self.smp.transactions.values() if each.submission_id == ident), None)
        if seen is None:
            return ActOrder(act=Act.RESEND, reason="the SMP does not have it")
        if seen.created is None:
            return None
        act = Act.RESOLVE_COMPLETED if seen.created else Act.RESOLVE_FAILED
        return ActOrder(act=act, reason="seen at the SMP")

    async def _drained(self) -> None:
        """Wait until each message of each plant is over and was told."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + QUIET_S
        while owed := [each for plant in self.plants.values() for each in plant.owed]:
            if loop.time() > latest:
                raise Broken(f"I10: not over after {QUIET_S:g} s: {owed[:3]} of {len(owed)}")
            await asyncio.sleep(5)

    # ------------------------------------------------------------ at each step
    def _sent(self, ident: str, body: bytes) -> None:
        standing = self._rows("SELECT state, hex(body) FROM submission WHERE id = ?", ident)
        if not standing or standing[0][0] != State.SENDING:
            raise Broken(f"I4: {ident} is sent and is {standing}")
        if bytes.fromhex(standing[0][1]) != body:
            raise Broken(f"I4: {ident} is sent with other bytes than were committed")
        self._perhaps_kill()

    def _acknowledged(self, message_id: str) -> None:
        if not self._rows("SELECT 1 FROM message WHERE id = ?", message_id):
            raise Broken(f"I1: {message_id} was acknowledged and is not in the journal")
        self._perhaps_kill()

    def _perhaps_kill(self) -> None:
        """Let the gateway die at this very moment, or a little later: the moments that matter are short."""
        if self.smp.lossy and self.dice.random() < KILLED:
            asyncio.get_running_loop().call_later(self.dice.random() * MOMENT_S, self.kill.set)

    # ------------------------------------------------------------ in the end
    def _judge(self) -> None:
        found = [*self._effects(), *self._order(), *self._ends(), *self._steps()]
        if found:
            raise Broken(f"{len(found)} times: " + "; ".join(found[:5]))

    def _effects(self) -> Iterator[str]:
        for ident, count in Counter(each.submission_id for each in self.smp.transactions.values()).items():
            if count > 1:
                yield f"I2: submission {ident} became {count} transactions"

    def _order(self) -> Iterator[str]:
        arrived = {ident: place for place, (ident, _) in enumerate(self.smp.arrivals)}
        first: dict[str, dict[str, int]] = {}  # lane -> message -> when the first of it arrived, in accept order
        for lane, message, ident in self._rows(
            "SELECT m.lane, m.id, p.submission_id FROM message m JOIN part p ON p.message_id = m.id ORDER BY m.number"
        ):
            messages = first.setdefault(lane, {})
            messages[message] = min(messages.get(message, len(arrived)), arrived.get(ident, len(arrived)))
        for lane, messages in first.items():
            places = [place for place in messages.values() if place < len(arrived)]
            if places != sorted(places):
                yield f"I3: {lane} arrived in the order {places}"

    def _ends(self) -> Iterator[str]:
        created = {each.submission_id: each.names for each in self.smp.transactions.values() if each.created}
        for name, count in Counter(name for names in created.values() for name in names).items():
            if count > 1:
                yield f"I2: {name} was created {count} times"
        made = {
            ident
            for ident, submission in self._rows("SELECT message_id, submission_id FROM part")
            if submission in created
        }
        states = {ident: (site, state) for ident, site, state in self._rows("SELECT id, site, state FROM message")}
        self.outcome.messages.update(state for _, state in states.values())
        asked = sum(len(plant.asked) for plant in self.plants.values())
        if len(states) != asked:
            yield f"I1: {asked} messages were asked for, {len(states)} are in the journal"
        for site, plant in self.plants.items():
            for each in plant.asked:
                ident = plant.acknowledged.get(each.key, "")
                site_of, state = states.get(ident, ("", ""))
                if site_of != site or state not in TERMINAL:
                    yield f"I1: {each.key} is {state} of {site_of!r}"
                if {told for _, told in plant.told[each.key] if told in TERMINAL} != {state}:  # asked again, told again
                    yield f"I7: {each.key} is {state}, the plant was told {plant.told[each.key]}"
                if each.mistyped and state != State.REFUSED:
                    yield f"I1: {each.key} is mistyped and {state}"
                if (state == State.COMPLETED) != (ident in made):
                    yield f"I5: {each.key} is {state}, and the SMP {'made' if ident in made else 'did not make'} it"

    def _steps(self) -> Iterator[str]:
        for before, event, after in self._rows(
            "SELECT from_state, event, to_state FROM audit WHERE from_state IS NOT NULL"
        ):
            if before == after:
                continue
            self.outcome.steps[before, event] += 1
            if TRANSITIONS.get((State(before), Event(event))) != after:
                yield f"I6: {before} --{event}--> {after}"

    def _rows(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        return self.host.rows(statement, *values)


def _signer(name: str) -> PemSigner:
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PemSigner(pem, key_id=name, algorithm="ES256")
