"""Removes finished messages and their evidence when their time is over (`retention:` in gateway.yaml).

Each participant's key signs first where its chain begins from then on; then what is before is deleted in small batches,
each followed by a pause as long as it took, so that intake is never held up. A sweep that was cut short is finished by
the next one. A key that does not sign is told, and its participant's messages stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from gateway.core import jws
from gateway.core.evidence import CUT_TYP, ChainHead, Cut, cut_payload
from gateway.errors import SigningFailed
from gateway.flow.notary import Seal
from gateway.ports import Clock, Journal
from gateway.telemetry import Telemetry

INTERVAL_S = 600.0
_BATCH = 50  # entries per commit: a few messages
_LOOK = 5_000  # entries that one cut goes through at most


class Retention:
    """Removes what ended more than ``keep_us`` ago; ``seals`` tells of the participants as they are now."""

    def __init__(
        self,
        journal: Journal,
        seals: Callable[[], Mapping[str, Seal]],
        *,
        keep_us: int,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._journal = journal
        self._seals = seals
        self._keep_us = keep_us
        self._clock = clock
        self._telemetry = telemetry

    async def run(self) -> None:
        """Sweep from time to time, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Remove whatever may go now."""
        for name, seal in self._seals().items():
            removed = await self._remove(name, seal)
            try:
                while (head := await self._removable(name, seal)) is not None:
                    await self._journal.cut(self._signed(head, seal))
                    removed += await self._remove(name, seal)
            except SigningFailed as error:
                self._telemetry.emit("evidence_unsealed", participant=name, reason=str(error))
            if removed:
                self._telemetry.emit("evidence_removed", participant=name, entries=removed)

    async def _removable(self, participant: str, seal: Seal) -> ChainHead | None:
        before = self._clock.now() - self._keep_us
        return await self._journal.removable(seal.environment, participant, before, limit=_LOOK)

    def _signed(self, head: ChainHead, seal: Seal) -> Cut:
        now, signer = self._clock.now(), seal.signer
        header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": CUT_TYP}
        token = jws.sign_compact(signer, header, cut_payload(head, now))
        return Cut(head=head, at=now, key_id=signer.key_id, token=token)

    async def _remove(self, participant: str, seal: Seal) -> int:
        loop, removed = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            count = await self._journal.remove(seal.environment, participant, limit=_BATCH)
            removed += count
            if count < _BATCH:
                return removed
            await asyncio.sleep(loop.time() - began)
