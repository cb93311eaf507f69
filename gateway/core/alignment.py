"""Which assets a unit aligns: what it asks for, what is known of each, and what follows from that.

Rules
-----
* A unit names its assets, or means those of another message: the one that set it off, else the last of that name that
  was accepted before it, else the next one. What became of that very message counts: an older one that went well never
  takes its place.
* An asset that is there is enough, whoever created it. One that an open message creates is waited for, as is one that
  nobody knows yet. One whose last message ended without it refuses the unit.
* One GSP group per unit (domain.md section 3). An asset known to lie in another group is a problem and no warning: the
  rule has no exception, the SMP would refuse the unit for it, and what we know of the group was said by the participant
  itself, in the message that created the asset or in the file that adopted it. Of other assets nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.core import codec, strict_json
from gateway.core.message import UNIT, Alignment, Creation, Lane, Problem
from gateway.core.transaction import State
from gateway.errors import StrictJsonError

ALIGNED_ASSETS = "alignedAssets"  # the unit's member that is filled from what it aligns
_NAMED = {"assets": "assetName", "unit": "unitName"}
_GROUP = (dict, Mapping)  # the concrete one first: asking for it costs next to nothing
_SHOWN = 5  # assets that a sentence names before it only counts


class Standing(StrEnum):
    """What is known of an asset."""

    THERE = "there"
    COMING = "coming"  # an open message creates it
    FAILED = "failed"  # the last message that should have created it ended without it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One aligned asset as the registry has it; ``note`` says who creates it, or why it failed."""

    name: str
    standing: Standing
    gsp_group: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What follows for a unit: it is refused for ``problems``, else waits for what is ``missing``, else may be sent."""

    problems: tuple[Problem, ...] = ()
    missing: tuple[Known, ...] = ()


def judge(alignment: Alignment, known: Sequence[Known]) -> Ruling:
    """Judge a unit by what is known of all its assets, in its own order."""
    if len(known) > alignment.limit:
        said = f"{len(known)} assets are aligned, the SMP takes at most {alignment.limit}"
        return Ruling(problems=(Problem(field=ALIGNED_ASSETS, code="too_many", message=said),))
    problems = [problem for place, asset in enumerate(known) if (problem := fault(alignment, asset, place)) is not None]
    missing = tuple(asset for asset in known if asset.standing is not Standing.THERE)
    return Ruling(problems=tuple(problems), missing=missing)


def fault(alignment: Alignment, asset: Known, place: int | None = None) -> Problem | None:
    """Why this asset refuses the unit, or None."""
    field = ALIGNED_ASSETS if place is None else f"{ALIGNED_ASSETS}[{place}]"
    if asset.standing is Standing.FAILED:
        said = f"asset {asset.name!r} is not there: {asset.note}"
        return Problem(ref=asset.name, field=field, code="dependency_failed", message=said)
    if None not in {asset.gsp_group, alignment.gsp_group} and asset.gsp_group != alignment.gsp_group:
        said = f"asset {asset.name!r} lies in GSP group {asset.gsp_group}, the unit in {alignment.gsp_group}"
        return Problem(ref=asset.name, field=field, code="gsp_group_mismatch", message=said)
    return None


def name_fault(name: object, field: str, *, longest: int | None) -> Problem | None:
    """Why this cannot be the name of an aligned asset, or None."""
    if not isinstance(name, str) or not name.strip():
        return Problem(field=field, code="not_a_text", message=f"{name!r:.80} is not the name of an asset")
    if longest is not None and len(name) > longest:
        said = f"{name!r:.80} has {len(name)} characters, at most {longest} are allowed"
        return Problem(field=field, code="too_long", message=said)
    return None


def waits_for(missing: Sequence[Known], lanes: Sequence[Lane] = ()) -> str:
    """A sentence for people: what a unit waits for, and what they can do about it."""
    wanted = [f"the next message {lane.message} of site {lane.site}" for lane in lanes]
    wanted += [f"{each.name!r} ({each.note or _NOBODY})" for each in missing[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more assets" if len(missing) > _SHOWN else ""
    return f"waits for {', '.join(wanted)}{more}"


_NOBODY = "nobody creates it; if it was made long ago, adopt it"


def ending(lane: Lane, state: State, problems: Sequence[Problem]) -> str:
    """Why the assets of a message that ended like this are not there."""
    first = f": {problems[0]}" if problems else ""
    return f"message {lane.message} of site {lane.site} is {state}{first}"


# ---------------------------------------------------------------- contents
def names_in(content: bytes) -> tuple[str, ...]:
    """The names of what a message's content creates; a row without a usable one has none.

    Of a refused message the content may be one that nobody could read back: it creates nothing anyway.
    """
    return tuple(rows_of(content))


def rows_of(content: bytes) -> dict[str, int]:
    """The same names, each with the first row that asks for it."""
    try:
        document = strict_json.loads(content, limit=len(content))
    except StrictJsonError:
        return {}
    return {each.name: each.row for each in creations(document)} if isinstance(document, dict) else {}


def creations(content: Mapping[str, object], *, longest: int | None = None) -> tuple[Creation, ...]:
    """What a content creates; names longer than ``longest`` are left out, since nothing of that name will ever be."""
    assets = content.get("assets")
    rows = assets if isinstance(assets, Sequence) else [content.get("unit")]
    member = _NAMED["unit" if assets is None else "assets"]
    found: dict[str, Creation] = {}
    for row, tree in enumerate(rows):
        name = tree.get(member) if isinstance(tree, _GROUP) else None
        if isinstance(name, str) and name and (longest is None or len(name) <= longest):
            found.setdefault(name, Creation(row=row, name=name, gsp_group=gsp_group_of(tree)))
    return tuple(found.values())


def gsp_group_of(row: object) -> str | None:
    """The GSP group that an asset or unit says it lies in."""
    connection = row.get("connection") if isinstance(row, _GROUP) else None
    return _member(row, "gspGroup") or _member(connection, "gspGroup")


def completed(content: bytes, names: Iterable[str]) -> bytes:
    """A unit's content with the names of its assets, each once, in the order of its entries."""
    document = strict_json.loads(content)
    unit = document.get(UNIT) if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(unit, dict):
        raise TypeError("only a unit can be completed with its assets")
    return codec.dumps({**document, UNIT: {**unit, ALIGNED_ASSETS: list(dict.fromkeys(names))}})


def _member(tree: object, name: str) -> str | None:
    value = tree.get(name) if isinstance(tree, _GROUP) else None
    return value if isinstance(value, str) and value else None
