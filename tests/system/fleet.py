"""The test fleet: domestic batteries of one aggregator as a CSV file, with valid synthetic MPANs."""

from __future__ import annotations

from pathlib import Path

from gateway.core.reference_data import GSP_GROUP_BY_DISTRIBUTOR, mpan_check_digit

HEADINGS = (
    "assetName,externalRef,assetType,technology,meterPoints[0].type,meterPoints[0].id,meterPoints[0].direction,"
    "connection.level,connection.gspGroup,location.postcode,capacity.maxExportMw [kW],capacity.maxImportMw [kW],"
    "capacity.energyMwh [kWh],startDate"
)


def name(number: int) -> str:
    """Batteries count from 1."""
    return f"BATT-{number:05d}"


def row(number: int) -> str:
    """One battery's line."""
    distributor, group = list(GSP_GROUP_BY_DISTRIBUTOR.items())[number % len(GSP_GROUP_BY_DISTRIBUTOR)]
    first = f"{distributor}{number:010d}"
    mpan = f"{first}{mpan_check_digit(first)}"
    return (
        f"{name(number)},home/{number},Storage,Battery,MPAN,{mpan},Import,Distribution,{group},SO14 0AA,"
        f"3.68,3.68,13.5,2026-12-01"
    )


def write(path: Path, count: int) -> Path:
    """Write a fleet of so many."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(HEADINGS + "\n")
        for number in range(1, count + 1):
            stream.write(row(number) + "\n")
    return path
