"""What an import is: a file's assets for one participant, in batches under ids that the file's content alone decides.

Rules
-----
* The same content for the same participant is the same import, whatever the file is called: its batches have the same
  message ids, so that running it again can never make a second message.
* An import has a lane of its own, at a site that no YAML can name.
* A batch is taken whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.core import alignment, codec, validation
from gateway.core.message import ASSETS, IMPORT_SITE, Draft, Lane, Problem, message_id
from gateway.core.profile import Profile

BATCH_ROWS = 1000
_ID_LENGTH = 24  # hexadecimal digits: 96 bits
REVISION = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a batch comes from, kept with it as evidence: the file's name and hash, and which lines."""

    file: str
    sha256: str
    first_line: int
    last_line: int


def import_id(sha256: str, participant: str, batch_rows: int) -> str:
    """Name an import by what it holds; the size of its batches counts, since their ids must mean the same rows."""
    return hashlib.sha256(f"{participant}|{batch_rows}|{sha256}".encode()).hexdigest()[:_ID_LENGTH]


def is_import_id(text: str) -> bool:
    """Whether a text has the form of an import's id."""
    return len(text) == _ID_LENGTH and all(each in "0123456789abcdef" for each in text)


def batch_rows(profile: Profile) -> int:
    """How many rows go into one batch."""
    return min(BATCH_ROWS, profile.limits.assets_per_message)


def lane_of(environment: str, participant: str, ident: str) -> Lane:
    """The lane of one import."""
    return Lane(environment=environment, participant=participant, site=IMPORT_SITE, message=ident)


def intake_key(ident: str, number: int) -> str:
    """The intake key of a batch; batches count from 0."""
    return f"{ident}.{number}"


def check(assets: Sequence[object], profile: Profile, *, rows: int) -> Iterator[tuple[Problem, ...]]:
    """Validate a batch in steps of so many rows, so that a caller can let others have a turn between them.

    Rows are counted in the batch; that a name stands twice is found across all steps.
    """
    first: dict[object, int] = {}
    ref = profile.asset.ref
    for begin in range(0, len(assets), rows):
        part = list(assets[begin : begin + rows])
        found = [
            replace(each, row=None if each.row is None else each.row + begin)
            for each in validation.check(ASSETS, {"assets": part}, profile).problems
            if each.code != "not_unique" or each.field != ref
        ]
        for place, asset in enumerate(part, begin):
            name = asset.get(ref) if isinstance(asset, dict) else None
            if isinstance(name, str) and first.setdefault(name, place) != place:
                again = f"{name!r} stands in row {first[name]} already"
                found.append(Problem(row=place, ref=name, field=ref, code="not_unique", message=again))
        yield tuple(found)


def draft(
    lane: Lane, number: int, assets: Sequence[object], provenance: Provenance, *, at: int, profile: Profile
) -> Draft:
    """The message of a batch that :func:`check` found nothing wrong with."""
    key = intake_key(lane.message, number)
    came_from = {
        "file": provenance.file,
        "sha256": provenance.sha256,
        "firstLine": provenance.first_line,
        "lastLine": provenance.last_line,
    }
    content = {"assets": list(assets)}
    return Draft(
        id=message_id(lane, key),
        lane=lane,
        kind=ASSETS,
        intake_key=key,
        raw=codec.dumps(came_from),
        content=codec.dumps(content),
        rows=len(assets),
        rules=(),
        revision=REVISION,
        accepted_at=at,
        creates=alignment.creations(content, longest=profile.asset.members[profile.asset.ref].length),
        salvage=True,  # a bad row of a fleet must not keep the others out
    )
