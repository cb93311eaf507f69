"""The standard mailbox on the bench's site, and the asset that a request of it asks for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

BASE = 1000
RESULTS = 1200
REGISTERS = 1400
BLOCK = 125  # header and payload window: one FC3 read

# Offsets in the site's block.
REQUEST_SEQ, RESULT_ACK_SEQ, PAYLOAD = 0, 5, 6
# Offsets in the gateway's block.
ACK_SEQ, RESULT_SEQ, RESULT_FOR, STATE, TEXT = 0, 1, 2, 3, 6
TEXT_REGISTERS = 32

KIND = 1
COMPLETED = 2
SEQUENCES = 0xFFFF

ASSET_NAME = "BENCH PCS 1"
# What the site's YAML says of the asset; the floor writes the very same members.
ASSET = f"""assetName: {ASSET_NAME}
externalRef: bench/pcs1
assetType: Storage
technology: Battery
meterPoints: [{{type: MPAN, id: "2000000000200", direction: Import}}]
connection: {{level: Distribution, gspGroup: _H, gsp: EXAMPLE_GSP_1, voltageKv: 33}}
location: {{postcode: SO14 0AA, latitude: 50.9, longitude: -1.4}}
capacity: {{maxExportMw: {{point: max_export}}, maxImportMw: {{point: max_import}}, energyMwh: {{point: energy}}}}
owner: Example Storage Ltd
startDate: "2026-12-01"
"""


def payload(sequence: int) -> list[int]:
    """What the site fills in for a request: tenths of MW out, MW in and MWh, and five unused registers."""
    return [sequence % 500 + 1, sequence % 400 + 1, sequence % 900 + 1, 0, 0, 0, 0, 0]


def request_block(sequence: int) -> list[int]:
    """Registers from BASE that raise a request: all but RESULT_ACK_SEQ, which follows the results."""
    filled = payload(sequence)
    covered = [sequence, KIND, len(filled), *filled]
    crc = zlib.crc32(struct.pack(f">{len(covered)}H", *covered))
    return [sequence, KIND, len(filled), crc >> 16, crc & 0xFFFF, 0, *filled]


def whole(block: Sequence[int]) -> bool:
    """Whether the block's CRC fits its registers."""
    covered = [*block[:3], *block[PAYLOAD : PAYLOAD + block[2]]]
    return zlib.crc32(struct.pack(f">{len(covered)}H", *covered)) == block[3] << 16 | block[4]


def tenths(value: int) -> str:
    """A register of tenths as the wire writes it."""
    return f"{value // 10}.{value % 10}"


def submission(message_id: str, registers: Sequence[int]) -> bytes:
    """The body that the floor posts, member for member what the gateway's template makes of these payload registers."""
    export, inwards, energy = (tenths(value) for value in registers[:3])
    return (
        f'{{"messageId":"{message_id}","action":"Create","assets":[{{"assetName":"{ASSET_NAME}",'
        '"externalRef":"bench/pcs1","assetType":"Storage","technology":"Battery",'
        '"meterPoints":[{"type":"MPAN","id":"2000000000200","direction":"Import"}],'
        '"connection":{"level":"Distribution","gspGroup":"_H","gsp":"EXAMPLE_GSP_1","voltageKv":33},'
        '"location":{"postcode":"SO14 0AA","latitude":50.9,"longitude":-1.4},'
        f'"capacity":{{"maxExportMw":{export},"maxImportMw":{inwards},"energyMwh":{energy}}},'
        '"owner":"Example Storage Ltd","startDate":"2026-12-01"}]}'
    ).encode()
