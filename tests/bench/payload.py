"""How long a full payload takes from readings to signed bytes: 1000 assets, each with every member an asset may have.

Nothing waits here for disk or network, so it runs in one process and tells the best of several runs: what else the
machine does at the time is not the product's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml

from gateway.core import batch, codec, intake, jws
from gateway.core.intake import Intake
from gateway.core.mapping import MailboxTrigger, MessageSpec, compile_template
from gateway.core.message import ASSETS, Lane
from gateway.core.point import Quality, Reading
from gateway.core.profile import Profile
from gateway.edge.keys import PemSigner
from tests.bench.subject import ROOT

TARGET_MS = 25.0
_ROWS = 1000
_RUNS = 15
_ID = "9f1c0000-0000-4000-8000-000000000000"
_INTAKE = Intake(
    lane=Lane(environment="test", participant="exstor", site="hams-bess", message="battery"),
    key="plc:1.1",
    raw=b"",
    at=0,
    revision="bench",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One measurement; times are the best of the runs."""

    rows: int
    body_bytes: int
    drafted_ms: float
    encoded_ms: float
    signed_ms: float

    @property
    def total_ms(self) -> float:
        """From the readings to the signed bytes."""
        return self.drafted_ms + self.encoded_ms + self.signed_ms


def measure(key_path: Path) -> Payload:
    """Compose, validate, encode and sign, again and again, with this private key."""
    profile_path = ROOT / "config" / "profiles" / "smp-v1.yaml"
    profile = Profile.model_validate(yaml.safe_load(profile_path.read_text(encoding="utf-8")))
    signer = PemSigner(key_path.read_bytes(), key_id="bench", algorithm="ES256")
    spec = _spec()
    snapshot = {"limit": Reading(point="limit", value=Decimal("12.5"), quality=Quality.GOOD, at=0)}
    best = [float("inf")] * 3
    body = b""
    for _ in range(_RUNS):
        times = [time.perf_counter()]
        made, content = intake.draft(_INTAKE, spec, snapshot, profile)
        times.append(time.perf_counter())
        rows = batch.first_of(profile, ASSETS, content)
        body = codec.enclose(profile, ASSETS, _ID, rows.rows)
        times.append(time.perf_counter())
        header = jws.protected_header(
            algorithm="ES256", key_id="bench", typ="smp-request+jws", iat=0, jti=_ID, aud="https://smp.example/assets"
        )
        jws.sign_detached(signer, header, body)
        times.append(time.perf_counter())
        if made.problems or len(rows.rows) != _ROWS:
            raise ValueError(f"the payload of the bench is not a good one: {made.problems[:1]}")
        best = [min(old, new - start) for old, start, new in zip(best, times, times[1:], strict=False)]
    drafted, encoded, signed = (1000 * each for each in best)
    return Payload(rows=_ROWS, body_bytes=len(body), drafted_ms=drafted, encoded_ms=encoded, signed_ms=signed)


def _spec() -> MessageSpec:
    template = compile_template({"assets": [asset(number) for number in range(_ROWS)]})
    return MessageSpec(name="battery", kind=ASSETS, trigger=MailboxTrigger(mailbox="plc", kind=1), template=template)


def asset(number: int) -> dict[str, object]:
    """Every member that an asset may have, as a site's YAML says it; its point is ``limit``."""
    return {
        "assetName": f"HAMS BESS PCS {number}",
        "externalRef": f"hams-bess/pcs{number}",
        "assetType": "Storage",
        "technology": "Battery",
        "meterPoints": [{"type": "MPAN", "id": "2000000000200", "direction": "Import"}],
        "connection": {"level": "Distribution", "gspGroup": "_H", "gsp": "EXAMPLE_GSP_1", "voltageKv": Decimal(33)},
        "location": {"postcode": "SO14 0AA", "latitude": Decimal("50.90"), "longitude": Decimal("-1.40")},
        "capacity": {
            "maxExportMw": {"point": "limit"},
            "maxImportMw": {"point": "limit"},
            "energyMwh": Decimal("25.0"),
        },
        "ramp": {"upMwPerMin": Decimal(750), "downMwPerMin": Decimal(750)},
        "metering": {"intervalSeconds": Decimal(1), "accuracyPct": Decimal("0.5")},
        "owner": "Example Storage Ltd",
        "startDate": "2026-12-01",
        "endDate": None,
    }
