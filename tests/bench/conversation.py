"""One request after the other, each through to its result: what is measured, in a closed loop.

The pauses are random, so that requests and callbacks meet the poll in every phase; no pause lies inside a measure.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from tests.bench import jose, layout
from tests.bench.material import CALLBACK_PATH, PARTICIPANT, PARTICIPANT_KEY_ID, PUBLIC_URL, SMP_KEY_ID
from tests.bench.plc import Plc
from tests.bench.smp import Caller, Posted, Smp

HANG_S = 30.0  # nobody waits longer for one step: what is not there by then was lost
SETTLE_S = 0.01  # after the 202, so that the callback does not compete with the commit of its own transaction id


class Lost(Exception):
    """A message did not come through, or not as it should; the bench has measured nothing then."""


@dataclass(slots=True)
class Samples:
    """Nanoseconds, one of each per message."""

    uplink: list[int] = field(default_factory=list)
    first_write: list[int] = field(default_factory=list)
    downlink: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Partner:
    """The site and the SMP of one of the two that are measured."""

    name: str
    plc: Plc
    smp: Smp
    caller: Caller
    samples: Samples = field(default_factory=Samples)
    evidence: list[tuple[int, Posted]] = field(default_factory=list)
    sequence: int = 0

    async def converse(self, dice: random.Random, poll_s: float, key: EllipticCurvePrivateKey) -> None:
        """Drive one message all the way and keep its times.

        Raises:
            Lost: it did not come through.
        """
        await asyncio.sleep(SETTLE_S + dice.uniform(0, poll_s))
        self.sequence = self.sequence % layout.SEQUENCES + 1
        marks = self.plc.ask(self.sequence)
        stage = "on its way up"
        try:
            async with asyncio.timeout(HANG_S):
                posted = await self.smp.posted.get()
                body, signature = callback(posted, key)
                await asyncio.sleep(SETTLE_S + dice.uniform(0, poll_s))
                stage = "with its callback"
                called = self.caller.send(body, signature)
                self._judge_answer(await self.caller.answer())
                stage = "on its way down"
                await marks.done.wait()
        except (TimeoutError, EOFError, ConnectionError) as error:
            raise Lost(f"{self.name}: request {self.sequence} got lost {stage} ({type(error).__name__})") from None
        self._judge_result()
        self.evidence.append((self.sequence, posted))
        self.samples.uplink.append(posted.at - marks.shown)
        self.samples.first_write.append(marks.first_write - called)
        self.samples.downlink.append(marks.result - called)

    def forget(self) -> None:
        """Drop the times so far: they were the warm-up's."""
        self.samples = Samples()

    def check_evidence(self, key: EllipticCurvePublicKey) -> None:
        """Verify every submission after the fact: signature, audience and the values of its own request.

        Raises:
            Lost: one is not what its request asked for.
        """
        for sequence, posted in self.evidence:
            header = jose.verify(key, posted.headers.get("x-jws-signature", ""), posted.body)
            if header is None or (header["aud"], header["kid"]) != (f"{self.smp.base_url}/assets", PARTICIPANT_KEY_ID):
                raise Lost(f"{self.name}: request {sequence} was posted with a signature that does not hold")
            asset = json.loads(posted.body, parse_float=str)["assets"][0]
            export, inwards, energy = (layout.tenths(value) for value in layout.payload(sequence)[:3])
            wanted = {"maxExportMw": export, "maxImportMw": inwards, "energyMwh": energy}
            if {name: str(value) for name, value in asset["capacity"].items()} != wanted:
                raise Lost(f"{self.name}: request {sequence} was posted with {asset['capacity']}, not {wanted}")

    def _judge_answer(self, status: int) -> None:
        if status != 200:
            raise Lost(f"{self.name}: the callback for request {self.sequence} was answered {status}")

    def _judge_result(self) -> None:
        if self.plc.result() != (self.sequence, layout.COMPLETED):
            raise Lost(f"{self.name}: request {self.sequence} was answered {self.plc.result()} (request, state)")
        if not self.smp.posted.empty():
            raise Lost(f"{self.name}: request {self.sequence} was posted twice")


def callback(posted: Posted, key: EllipticCurvePrivateKey) -> tuple[bytes, str]:
    """The signed good news about a submission; made before the measured part begins."""
    now = int(time.time())
    submission_id = str(json.loads(posted.body)["messageId"])
    members = {
        "messageId": f"cb-{submission_id}",
        "messageType": "TransactionResult",
        "issuedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "participant": PARTICIPANT,
        "transactionId": posted.transaction_id,
        "submissionId": submission_id,
        "status": "Success",
        "notification": "Success",
        "results": [{"ref": layout.ASSET_NAME, "smpId": f"A-{posted.transaction_id}"}],
        "errors": [],
    }
    body = json.dumps(members, separators=(",", ":")).encode()
    header = jose.header(
        key_id=SMP_KEY_ID,
        typ="smp-callback+jws",
        iat=now,
        jti=f"jti-{submission_id}",
        aud=PUBLIC_URL + CALLBACK_PATH,
    )
    return body, jose.sign(key, header, body)
