"""Signs how far each participant's chain of evidence is, so that nobody can quietly make it shorter or another one.

A checkpoint is made every :data:`INTERVAL_S` where something was added, when an operator exports evidence, and when the
gateway ends. Its line in the log is an anchor outside of the journal. A key that does not sign is told, and tried again
with the next one: evidence is never what keeps messages waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.core import codec, jws
from gateway.core.control import SEAL, Sealed
from gateway.core.evidence import CHECKPOINT_TYP, Checkpoint, checkpoint_payload
from gateway.errors import ControlRefused, SigningFailed
from gateway.ports import Call, Clock, Journal, OperationHandlers, Signer
from gateway.telemetry import Telemetry

INTERVAL_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Which key signs a participant's chain; ``keys`` are all public ones that it has signed anything with."""

    environment: str
    signer: Signer
    keys: Sequence[Mapping[str, str]]


class Notary:
    """Makes checkpoints of the participants' chains; ``seals`` tells of the participants as they are now."""

    def __init__(
        self, journal: Journal, seals: Callable[[], Mapping[str, Seal]], *, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._journal = journal
        self._seals = seals
        self._clock = clock
        self._telemetry = telemetry

    def handlers(self) -> OperationHandlers:
        """What operators may ask for."""
        return {SEAL: self.seal}

    @asynccontextmanager
    async def attending(self) -> AsyncIterator[Notary]:
        """Sign from time to time until left, and then what was added until the end."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._run(), name="notary")
            yield self
            task.cancel()
        await self._attest_all()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self._attest_all()

    async def seal(self, call: Call) -> Sealed:
        """Answer core.control.SEAL."""
        name = call.parameters["participant"]
        seals = self._seals()
        seal = seals.get(name)
        if seal is None:
            known = ", ".join(sorted(seals))
            raise ControlRefused("not_found", f"no participant {name:.64}", advice=f"known: {known}")
        try:
            await self._attest(name, seal)
        except SigningFailed as error:
            raise ControlRefused("unsigned", str(error), advice="see to the participant's signing key") from error
        found = await self._journal.chain_head(seal.environment, name)
        if found is None:
            return Sealed(participant=name, environment=seal.environment, entries=0)
        head, _ = found
        return Sealed(participant=name, environment=seal.environment, entries=head.number, link=head.link)

    async def _attest_all(self) -> None:
        for name, seal in self._seals().items():
            try:
                await self._attest(name, seal)
            except SigningFailed as error:
                self._telemetry.emit("evidence_unsealed", participant=name, reason=str(error))

    async def _attest(self, participant: str, seal: Seal) -> None:
        """Sign the head of a chain, unless its last checkpoint is that already."""
        found = await self._journal.chain_head(seal.environment, participant)
        if found is None or found[0].number == found[1]:
            return
        head, now, signer = found[0], self._clock.now(), seal.signer
        header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": CHECKPOINT_TYP}
        token = jws.sign_compact(signer, header, checkpoint_payload(head, now))
        checkpoint = Checkpoint(head=head, at=now, key_id=signer.key_id, token=token)
        await self._journal.checkpoint(checkpoint, [codec.dumps(dict(jwk)).decode() for jwk in seal.keys])
        self._telemetry.emit("evidence_sealed", participant=participant, entries=head.number, link=head.link)
