"""The simulated SMP's own reading of the wire profile: only what a server needs, by its own few lines.

A *path* into a document is a name, or several with dots between; ``.`` alone is the whole document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.errors import ConfigError, ConfigProblem, Place

UNITS_S = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
FORMS = ("detached", "compact", "flattened")

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What one asset or unit looks like: ``members`` is the profile's tree, ``ref`` the wire's member that names it.

    ``require_any`` holds dotted names of the wire. ``decided_with`` is the HTTP status of an answer that is the verdict
    itself; None where a callback tells it later.
    """

    kind: str
    action: str
    ref: str
    require_any: tuple[tuple[str, ...], ...]
    members: Tree
    payload: str
    schema: Tree | None = None  # of a further kind, whose rows have no names
    decided_with: int | None = None

    def spell(self, dotted: str) -> str:
        """The wire's name of a member, from the profile's own; groups have dots between."""
        return _spell(self.members, dotted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The SMP's names, paths, limits and words; each mapping goes from our word to the wire's."""

    paths: Mapping[str, str]
    methods: Mapping[str, str]
    headers: Mapping[str, str]
    media_types: Mapping[str, str]
    form: str
    answers_signed: bool
    login: Mapping[str, str]
    token: Mapping[str, str]
    taken: int
    submission: Mapping[str, str]
    status: Mapping[str, str]
    result: Mapping[str, str]
    created: Mapping[str, str]
    error: Mapping[str, str]
    first_row: int
    enums: Mapping[str, tuple[str, ...]]
    status_words: Mapping[str, tuple[str, ...]]
    result_type: str
    asset: Item
    unit: Item
    further: Mapping[str, Item]
    algorithms: tuple[str, ...]
    typ_request: str
    typ_callback: str
    typ_response: str
    tolerance_s: int
    request_bytes: int
    assets_per_submission: int
    aligned_per_unit: int
    deduplicates: Mapping[str, bool]
    echo_submission: bool
    status_by_submission: bool

    def item(self, kind: str) -> Item:
        """What a submission of this kind holds."""
        known = {self.asset.kind: self.asset, self.unit.kind: self.unit}
        return known.get(kind) or self.further[kind]


def read(path: Path) -> Wire:
    """Read a profile.

    Raises:
        ConfigError: the file is not a profile that this simulator can serve; says where.
    """
    try:
        tree = yaml.safe_load(path.read_bytes())
        return _wire(tree)
    except KeyError as error:
        raise _problem(path, str(error.args[0]), "is missing") from error
    except (OSError, yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
        raise _problem(path, "", str(error)) from error


def seconds(text: str) -> float:
    """Read a duration with its unit, such as ``20ms`` or ``5min``.

    Raises:
        ValueError: there is no such unit, or no number before it.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    if unit not in UNITS_S:
        raise ValueError(f"{text!r} is not a duration such as 20ms, 5s or 2min")
    return float(number) * UNITS_S[unit]


def _wire(tree: Tree) -> Wire:
    members, limits, capabilities = tree["members"], tree["limits"], tree["capabilities"]
    error, further = dict(members["error"]), tree.get("kinds", {})
    first_row = int(error.pop("first_row", 0))
    return Wire(
        paths={**tree["paths"], **{name: kind["path"] for name, kind in further.items()}},
        methods={**tree["methods"], **{name: kind.get("method", "POST") for name, kind in further.items()}},
        headers=tree["headers"],
        media_types=tree["media_types"],
        form=FORMS[FORMS.index(tree["signature"]["form"])],
        answers_signed=tree["signature"]["responses"] == "signed",
        login=members["login"],
        token=tree["token"],
        taken=int(tree["answers"]["submission"]["transaction"][0]),
        submission=members["submission"],
        status=members["status"],
        result=members["result"],
        created=members["created"],
        error=error,
        first_row=first_row,
        enums={name: tuple(words) for name, words in tree["enums"].items()},
        status_words={name: tuple(words) for name, words in tree["status_words"].items()},
        result_type=tree["result_types"][0],
        asset=_item("assets", tree["asset"], members["submission"]["assets"]),
        unit=_item("units", tree["unit"], members["submission"]["unit"]),
        further={name: _further(name, kind) for name, kind in further.items()},
        algorithms=tuple(tree["signature"]["algorithms"]),
        typ_request=tree["signature"]["typ_request"],
        typ_callback=tree["signature"]["typ_callback"],
        typ_response=tree["signature"]["typ_response"],
        tolerance_s=int(seconds(tree["timings"]["clock_tolerance"])),
        request_bytes=limits["request_bytes"],
        assets_per_submission=limits["assets_per_submission"],
        aligned_per_unit=limits["aligned_assets_per_unit"],
        deduplicates={
            **capabilities["deduplicates"],
            **{name: kind["deduplicated"] for name, kind in further.items()},
        },
        echo_submission=capabilities["echo_submission"],
        status_by_submission=capabilities["status_by_submission"],
    )


def _item(kind: str, tree: Tree, payload: str) -> Item:
    members = tree["members"]
    return Item(
        kind=kind,
        action=tree["action"],
        ref=_spell(members, tree["ref"]),
        require_any=tuple(tuple(_spell(members, name) for name in names) for names in tree["require_any"]),
        members=members,
        payload=payload,
    )


def _further(name: str, tree: Tree) -> Item:
    return Item(
        kind=name,
        action=tree["action"],
        ref="",
        require_any=(),
        members={},
        payload=tree["payload"],
        schema=tree["schema"],
        decided_with=tree.get("verdict_statuses", [200])[0] if tree.get("verdict") == "answer" else None,
    )


def _spell(members: Tree, dotted: str) -> str:
    name, _, rest = dotted.partition(".")
    spelt = str(members[name].get("name", name))
    return f"{spelt}.{_spell(members[name]['members'], rest)}" if rest else spelt


def _problem(path: Path, where: str, message: str) -> ConfigError:
    return ConfigError([ConfigProblem(place=Place(file=str(path), line=1, column=1), path=where, message=message)])
