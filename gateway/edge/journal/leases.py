"""Who serves which participant, as the journal has it: `ports.Leases` for one gateway alone, and for one of several."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

from gateway.core.sharing import LOOK_S, Hint, Lease, Node, Owner, Sight, Work
from gateway.edge.journal import news, sending
from gateway.edge.journal.engine import Beside, Grave
from gateway.edge.journal.statements import Commit, Reading

T = TypeVar("T")

_ALONE = Node(id=1, turn=0)


class Alone:
    """Every lease is this gateway's as soon as it asks: nobody else can have the journal."""

    def __init__(self) -> None:
        self._leases: dict[Owner, Lease] = {}

    async def look(self) -> Sight:
        """See `ports.Leases`."""
        return Sight(me=_ALONE.id, nodes=(_ALONE,), leases=tuple(self._leases.values()))

    async def enrol(self, owners: Collection[Owner]) -> None:
        """See `ports.Leases`."""
        for owner in owners:
            self._leases.setdefault(owner, Lease(owner=owner, node=None, epoch=0))

    async def claim(self, lease: Lease) -> bool:
        """See `ports.Leases`."""
        self._leases[lease.owner] = Lease(owner=lease.owner, node=_ALONE.id, epoch=lease.epoch + 1)
        return True

    async def release(self, owner: Owner) -> None:
        """See `ports.Leases`."""
        lease = self._leases[owner]
        self._leases[owner] = Lease(owner=owner, node=None, epoch=lease.epoch)

    async def bury(self, node: Node) -> None:
        """See `ports.Leases`; nobody else ever lived here."""

    async def divide(self, shares: int) -> None:
        """See `ports.Leases`."""

    async def leave(self) -> None:
        """See `ports.Leases`."""

    async def work(self) -> Work:
        """See `ports.Leases`; nothing was committed but by this gateway, which has told itself."""
        return Work()

    async def pause(self) -> None:
        """See `ports.Leases`; whoever changes something looks by itself."""
        await asyncio.Event().wait()

    async def hints(self) -> AsyncGenerator[Hint, None]:
        """See `ports.Leases`."""
        await asyncio.Event().wait()
        yield Hint()

    async def doubtful(self) -> None:
        """See `ports.Leases`."""
        await asyncio.Event().wait()


class Store(Protocol):
    """What the leases need of the journal that they are in."""

    @property
    def epoch(self) -> int:
        """Which life of this gateway this is, which is its node too."""

    async def commit(self, command: Callable[[Commit], T], *, beside: Beside | None = None) -> T:
        """Run a command in the next transaction."""

    async def list(self, read: Callable[[Reading], T]) -> T:
        """Read what may be many rows."""

    def hear(self) -> AsyncGenerator[str, None]:
        """What is notified, from now on; an empty text whenever something may have been missed."""

    async def run_out(self) -> None:
        """Wait until so long has gone by without a turn that another gateway may have taken over."""


class Shared:
    """Leases that several gateways share; ``machine`` is where this one runs."""

    def __init__(self, store: Store, machine: str) -> None:
        self._store = store
        self._machine = machine
        self.mine: frozenset[Owner] = frozenset()  # never more than the journal says

    async def look(self) -> Sight:
        """See `ports.Leases`."""
        nodes, leases = await self._store.list(lambda reading: (reading.all("nodes"), reading.all("leases")))
        return Sight(
            me=self._store.epoch,
            nodes=tuple(
                Node(id=ident, turn=turn, shares=shares, leaving=bool(leaving), gone=self._is_gone(machine, process))
                for ident, turn, shares, leaving, machine, process, *_ in nodes
            ),
            leases=tuple(
                Lease(owner=(environment, participant), node=node, epoch=epoch)
                for environment, participant, node, epoch, _ in leases
            ),
        )

    def _is_gone(self, machine: str, process: int) -> bool:
        """Whether a node ran beside us, in a process that is no more."""
        if machine != self._machine or process == os.getpid():
            return False
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    async def enrol(self, owners: Collection[Owner]) -> None:
        """See `ports.Leases`."""

        def command(commit: Commit) -> None:
            for environment, participant in sorted(owners):
                commit.run("enrol", environment=environment, participant=participant)

        await self._store.commit(command)

    async def claim(self, lease: Lease) -> bool:
        """See `ports.Leases`."""
        environment, participant = lease.owner

        def command(commit: Commit) -> bool:
            whose = {"environment": environment, "participant": participant}
            if commit.one("claim_lease", **whose, before=lease.epoch) is None:
                return False
            sending.restart(commit, environment, participant)
            return True

        if not await self._store.commit(command):
            return False
        self.mine |= {lease.owner}
        return True

    async def release(self, owner: Owner) -> None:
        """See `ports.Leases`."""
        environment, participant = owner
        self.mine -= {owner}

        def command(commit: Commit) -> None:
            commit.run("release_lease", environment=environment, participant=participant)
            commit.run("notify", payload=news.write(self._store.epoch, Hint()))

        await self._store.commit(command)

    async def bury(self, node: Node) -> None:
        """See `ports.Leases`."""

        def command(commit: Commit) -> None:
            if commit.one("bury_node", dead=node.id, turn=node.turn) is not None:
                commit.run("free_leases", dead=node.id)
                commit.run("notify", payload=news.write(self._store.epoch, Hint()))

        await self._store.commit(command, beside=Grave(node=node.id))

    async def divide(self, shares: int) -> None:
        """See `ports.Leases`."""
        await self._store.commit(lambda commit: self._tell(commit, "set_shares", shares=shares))

    async def leave(self) -> None:
        """See `ports.Leases`."""
        await self._store.commit(lambda commit: self._tell(commit, "set_leaving"))

    async def end(self) -> None:
        """Take this node out of the journal, and give back whatever it still has."""
        dead = self._store.epoch
        self.mine = frozenset()

        def command(commit: Commit) -> None:
            commit.run("free_leases", dead=dead)
            commit.run("end_node")
            commit.run("notify", payload=news.write(dead, Hint()))

        await self._store.commit(command)

    def _tell(self, commit: Commit, name: str, **parameters: int) -> None:
        commit.run(name, **parameters)
        commit.run("notify", payload=news.write(self._store.epoch, Hint()))

    async def work(self) -> Work:
        """See `ports.Leases`."""

        def question(reading: Reading) -> Work:
            relays: Sequence[tuple[str, str]] = [(site, connection) for site, connection in reading.all("relays_due")]
            return Work(relays=relays, sequels=[site for (site,) in reading.all("sequels_due")])

        return await self._store.list(question)

    async def pause(self) -> None:
        """See `ports.Leases`."""
        await asyncio.sleep(LOOK_S)

    async def hints(self) -> AsyncGenerator[Hint, None]:
        """See `ports.Leases`."""
        async with aclosing(self._store.hear()) as heard:
            async for payload in heard:
                node, hint = news.read(payload) if payload else (None, Hint(missed=True))
                if node != self._store.epoch:
                    yield hint

    async def doubtful(self) -> None:
        """See `ports.Leases`."""
        await self._store.run_out()
