"""What is read from files and may be exchanged under a running gateway: read again when something changed.

Rules
-----
* A file that cannot be used changes nothing: what was in use stays in use, and the trouble is told and shown.
* Reading again is cheap and has no effect when nothing changed, so that every hint may lead to it.
* A certificate's end is shown before it comes (:func:`gateway.core.certificate.ending`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from gateway.core.certificate import Certificate, ending
from gateway.errors import SecretError
from gateway.flow.trouble import Trouble
from gateway.ports import Clock


@dataclass(slots=True, kw_only=True)
class Renewable:
    """One thing that is read from files; ``what`` is its member in the YAML.

    ``renew`` reads it again, is True when it changed, and raises SecretError when it cannot be used. ``certificates``
    are those in use, for their end to be watched.
    """

    what: str
    renew: Callable[[], bool]
    certificates: Callable[[], Sequence[Certificate]] = tuple
    trouble: Trouble = field(default_factory=Trouble)


class Renewals:
    """All of them together: told of a change, each looks whether it was meant."""

    def __init__(self, renewables: Sequence[Renewable], *, clock: Clock, event: Callable[..., None]) -> None:
        self._renewables = tuple(renewables)
        self._clock = clock
        self._event = event
        self._hint = asyncio.Event()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What could not be read again, and which certificates end soon, for `/readyz`."""
        now = self._clock.now()
        lines = [each.trouble.line(each.what) for each in self._renewables if each.trouble.reason]
        for each in self._renewables:
            lines += [f"{each.what}: {said}" for said in ending(each.certificates(), now)]
        return tuple(lines)

    @property
    def ends(self) -> dict[str, int]:
        """When the first certificate of each thing ends (µs UTC), for the metrics."""
        chains = {each.what: each.certificates() for each in self._renewables}
        return {what: min(one.not_after for one in chain) for what, chain in chains.items() if chain}

    def hint(self) -> None:
        """Read everything again soon, whether or not a change was noticed (SIGHUP)."""
        self._hint.set()

    async def obey(self) -> None:
        """Read again at each :meth:`hint`, until cancelled."""
        while True:
            await self._hint.wait()
            self._hint.clear()
            self.renew()

    async def watch(self, changes: AsyncIterator[None]) -> None:
        """Read again at each change, until there are no more or cancelled."""
        async for _ in changes:
            self.renew()

    def renew(self) -> None:
        """Read everything again, and tell of what changed and of what went wrong or right again."""
        for each in self._renewables:
            try:
                changed = each.renew()
            except SecretError as error:
                if each.trouble.begins(f"the new file is not used, {error}", self._clock.now()):
                    self._event("renewal_failed", what=each.what, reason=str(error))
                continue
            if each.trouble.ends() or changed:
                self._event("renewal_succeeded", what=each.what)
