"""Everything that runs for the participants that fall to this gateway: taken up with their lease, handed over with it.

Rules
-----
* Nothing runs for a participant before its lease is ours on disk, and the lease goes back only after everything has
  stopped: its sites are disconnected, its submissions under way are settled, nobody logs in for it any more.
* A gateway that is out of touch with the journal for as long as others need to take it for dead lets go of its plants
  before they do: a listener, a broker's session or a mailbox is never anybody's but the lease's owner's.
* What other gateways commit for our participants is told by hints; a look into the journal now and then finds what
  hints have missed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager

from gateway.core.sharing import Hint, Owner, Plan, Watch, plan
from gateway.errors import ControlRefused
from gateway.flow.account import Account
from gateway.flow.gate import Gate
from gateway.flow.reconciler import Reconciler
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.flow.sites import Sites
from gateway.ports import Journal, Leases
from gateway.settings.configuration import SiteConfig
from gateway.telemetry import Telemetry

_POLL_LOOKS = 10  # so many looks at the leases for one at what waits in the journal


class Serving:
    """The participants that this gateway serves now: ``served``, which it fills and empties, of all ``accounts``.

    ``learn`` is done before sites are begun: what other gateways have stored of them may have changed.
    """

    def __init__(
        self,
        journal: Journal,
        leases: Leases,
        *,
        accounts: Mapping[str, Account],
        served: dict[str, Account],
        sites: Sites,
        sender: Sender,
        reconciler: Reconciler,
        signals: Signals,
        gates: Callable[[], Iterable[Gate]],
        learn: Callable[[], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        self._journal = journal
        self._leases = leases
        self._accounts = accounts
        self._served = served
        self._sites = sites
        self._sender = sender
        self._reconciler = reconciler
        self._signals = signals
        self._gates = gates
        self._learn = learn
        self._telemetry = telemetry
        self._configured: Mapping[str, SiteConfig] = {}
        self._tenures: dict[str, asyncio.Task[None]] = {}  # who has a token and resolves doubts, by participant
        self._going: dict[str, asyncio.Task[None]] = {}  # participants that are being handed over
        self._kept: set[Owner] = set()  # none of the nodes that were there has taken these
        self._nodes: frozenset[int] = frozenset()
        self._watch = Watch()
        self._shares = 1
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()  # something is told of nodes or leases
        self._missed = False  # something may have happened that nobody has told
        self._out_of_touch = False
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self, sites: Mapping[str, SiteConfig]) -> AsyncIterator[None]:
        """Serve what falls to us until left, with these sites; everything is handed over before this returns."""
        self._configured = sites
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._look()
            tasks = [
                group.create_task(self._keep_looking(), name="leases"),
                group.create_task(self._hear(), name="other gateways"),
                group.create_task(self._stay_in_touch(), name="lease watch"),
            ]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._leases.leave()
            await asyncio.gather(*(self._let_go(name) for name in self._served))

    async def reconfigure(self, sites: Mapping[str, SiteConfig]) -> None:
        """Run these sites from now on, as far as they are ours, and look after participants that are new."""
        self._configured = sites
        await self._run_sites()
        await self._look()

    def see_to(self, participant: str) -> None:
        """See that nothing is done here for a participant of another gateway (elsewhere.SeeTo).

        Raises:
            ControlRefused: another one serves it.
        """
        if participant in self._accounts and participant not in self._served:
            said = f"another gateway serves participant {participant} now"
            raise ControlRefused("elsewhere", said, advice="`smp-gateway nodes` shows which; ask there")

    # ------------------------------------------------------------ what is ours
    async def _keep_looking(self) -> None:
        looks = 0
        while True:
            told = asyncio.create_task(self._news.wait())
            pause = asyncio.create_task(self._leases.pause())
            try:
                await asyncio.wait((told, pause), return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
                pause.cancel()
            self._news.clear()
            await self._look()
            looks += 1
            if self._missed or looks >= _POLL_LOOKS:
                looks, self._missed = 0, False
                await self._poll()

    async def _look(self) -> None:
        """See who is there, and take, give back and share accordingly."""
        async with self._turn:
            weights = self._weights()
            sight = await self._leases.look()
            if weights.keys() - {lease.owner for lease in sight.leases}:
                await self._leases.enrol(weights.keys())
                sight = await self._leases.look()
            now = asyncio.get_running_loop().time()
            for node in self._watch.dead(sight, now):
                self._telemetry.emit("node_buried", node=node.id)
                await self._leases.bury(node)
            await self._divide(len(sight.nodes))
            if (nodes := frozenset(node.id for node in sight.nodes)) != self._nodes:
                self._nodes = nodes
                self._kept.clear()  # whoever came may take them
            found = plan(sight, weights, self._watch.forsaken(now))
            await self._claim(found)
            for owner in found.release - self._kept:
                self._let_go(owner[1])

    async def _claim(self, found: Plan) -> None:
        taken = False
        for lease in found.claim:
            if await self._leases.claim(lease):
                taken = True
                self._take_up(lease.owner[1])
                self._kept |= found.left & {lease.owner}
        if taken:
            self._signals.attention.set()
            await self._run_sites()
            await self._poll()

    def _weights(self) -> Mapping[Owner, int]:
        sites = Counter(site.participant for site in self._configured.values())
        return {(each.identity.environment, name): sites[name] or 1 for name, each in self._accounts.items()}

    async def _divide(self, nodes: int) -> None:
        """Use our share of the SMP's rate: a smaller one before that is told, a greater one after."""
        if nodes > self._shares:
            self._share(nodes)
        if nodes != self._shares:
            await self._leases.divide(nodes)
            self._share(nodes)
            self._shares = nodes

    def _share(self, nodes: int) -> None:
        for gate in self._gates():
            gate.share(nodes)

    # ------------------------------------------------------------ one participant
    def _take_up(self, name: str) -> None:
        if self._group is None:
            raise RuntimeError("nothing is served yet")
        self._served[name] = account = self._accounts[name]
        self._tenures[name] = self._group.create_task(self._attend(account), name=f"serving {name}")
        self._telemetry.emit("participant_taken_up", participant=name)

    async def _attend(self, account: Account) -> None:
        name = account.identity.participant
        async with asyncio.TaskGroup() as group:
            group.create_task(account.run(), name=f"account {name}")
            group.create_task(self._reconciler.attend(account), name=f"reconciler of {name}")

    def _let_go(self, name: str) -> asyncio.Task[None]:
        """Begin to hand a participant over, unless that is under way."""
        if self._group is None:
            raise RuntimeError("nothing is served yet")
        if name not in self._going:
            self._going[name] = self._group.create_task(self._hand_over(name), name=f"handing over {name}")
        return self._going[name]

    async def _hand_over(self, name: str) -> None:
        """Stop everything of one participant, in the order of a message's way, and give its lease back."""
        account = self._served[name]
        theirs = [site for site, runtime in self._sites.running.items() if runtime.site.participant == name]
        await self._sites.withdraw(theirs)
        tenure = self._tenures.pop(name)
        tenure.cancel()
        await asyncio.wait([tenure])
        await self._sender.leave(name)
        del self._served[name]
        account.rest()
        await self._leases.release((account.identity.environment, name))
        del self._going[name]
        self._telemetry.emit("participant_handed_over", participant=name)

    async def _run_sites(self) -> None:
        """Let exactly those sites run whose participant is ours to stay."""
        await self._learn()
        here = () if self._out_of_touch else self._served.keys() - self._going.keys()
        await self._sites.change({n: each for n, each in self._configured.items() if each.participant in here})

    # ------------------------------------------------------------ what other gateways do
    async def _hear(self) -> None:
        async with aclosing(self._leases.hints()) as hints:
            async for hint in hints:
                self._heed(hint)

    def _heed(self, hint: Hint) -> None:
        if hint.owner is not None and not self._serves(hint.owner):
            return
        for changed in hint.changed:
            self._signals.changed(changed)
        if not hint.changed:
            self._missed = self._missed or hint.owner is not None or hint.missed
            self._news.set()

    def _serves(self, owner: Owner) -> bool:
        account = self._served.get(owner[1])
        return account is not None and account.identity.environment == owner[0]

    async def _poll(self) -> None:
        """Look into the journal for whatever nobody has told us of."""
        work = await self._leases.work()
        for site, connection in work.relays:
            if site in self._sites.running:
                self._signals.relay(site, connection).set()
        for site in work.sequels:
            if site in self._sites.running:
                self._signals.sequels(site).set()
        for lane in await self._journal.lanes():
            self._sender.wake(lane)

    async def _stay_in_touch(self) -> None:
        """Let go of all plants while others may take us for dead, and reach for them again when they did not."""
        while True:
            await self._leases.doubtful()
            self._out_of_touch = True
            self._telemetry.emit("plants_let_go", sites=len(self._sites.running))
            await self._sites.withdraw([*self._sites.running])
            await self._journal.still_ours()
            self._out_of_touch = False
            self._telemetry.emit("plants_taken_back")
            await self._run_sites()
