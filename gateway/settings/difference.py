"""What a configuration that was read again says otherwise than the one that runs, and what only a restart can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from gateway.settings.resolved import Configuration, Participant

# Members of gateway.yaml that are read once, at the start, by the name that they have in the YAML.
_FIXED = {"journal": "journal", "retention_us": "retention", "callbacks": "callbacks", "health": "health"}
_NEXT = "restart the gateway for that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Sites and participants that are not the same any more; ``obstacles`` are what cannot be done while running."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    participants: tuple[str, ...]
    obstacles: tuple[str, ...]

    @property
    def any(self) -> bool:
        """Whether anything of it matters to what runs."""
        return bool(self.added or self.changed or self.removed or self.participants)


def difference(running: Configuration, wanted: Configuration) -> Difference:
    """Compare what runs with what is wanted now."""
    here, there = running.sites, wanted.sites
    return Difference(
        added=_sorted(there.keys() - here.keys()),
        changed=_sorted({name for name in here.keys() & there.keys() if here[name] != there[name]}),
        removed=_sorted(here.keys() - there.keys()),
        participants=tuple(
            name for name, each in wanted.participants.items() if not _alike(running.participants.get(name), each)
        ),
        obstacles=(*_of_gateway(running, wanted), *_of_participants(running, wanted), *_of_sites(running, wanted)),
    )


def _alike(before: Participant | None, now: Participant) -> bool:
    """Whether both log in and sign alike; names, files and contacts are for people."""
    return before is not None and now == replace(before, file=now.file, name=now.name, contacts=now.contacts)


def _of_gateway(running: Configuration, wanted: Configuration) -> Iterator[str]:
    for member, name in _FIXED.items():
        if getattr(running, member) != getattr(wanted, member):
            yield f"{name} has changed in {wanted.source.name}; {_NEXT}"
    for name in sorted(running.environments.keys() | wanted.environments.keys()):
        before, now = running.environments.get(name), wanted.environments.get(name)
        if before is None or now is None:
            yield f"smp.{name} has come or gone in {wanted.source.name}; {_NEXT}"
        elif before != now:
            other = ", ".join(field.name for field in fields(before) if _differ(before, now, field.name))
            yield f"smp.{name} has changed in {wanted.source.name} ({other}); {_NEXT}"


def _differ(one: object, other: object, member: str) -> bool:
    return bool(getattr(one, member) != getattr(other, member))


def _of_participants(running: Configuration, wanted: Configuration) -> Iterator[str]:
    used = {each.environment for each in running.participants.values()}
    for name, now in wanted.participants.items():
        before = running.participants.get(name)
        if before is None and now.environment not in used:
            yield f"participant {name} is the first one of environment {now.environment}; {_NEXT}"
        if before is not None and before.environment != now.environment:
            yield f"participant {name} has moved from {before.environment} to {now.environment}; {_NEXT}"
        if (None if before is None else before.callback_keys) != now.callback_keys:
            yield f"callback_keys of participant {name} have come or changed; {_NEXT}"


def _of_sites(running: Configuration, wanted: Configuration) -> Iterator[str]:
    for name, now in wanted.sites.items():
        before = running.sites.get(name)
        if before is not None and before.participant != now.participant:
            said = f"site {name} belongs to participant {before.participant} and cannot go to {now.participant}"
            yield f"{said}; give the plant another site name there"


def _sorted(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
