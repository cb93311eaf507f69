"""What gateways on one journal tell each other, as the payload of PostgreSQL's NOTIFY: a hint, never the truth."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.core.message import Lane
from gateway.core.record import Changed
from gateway.core.sharing import Hint, Owner
from gateway.core.transaction import State

_LIMIT = 7999  # PostgreSQL's own


class _Moved(BaseModel):
    """One message that moved (core.record.Changed)."""

    model_config = ConfigDict(frozen=True)

    id: str
    lane: str
    state: State
    before: State | None
    moved: bool
    relays: frozenset[str]
    sequels: bool


class _Told(BaseModel):
    """One hint, and which node says it."""

    model_config = ConfigDict(frozen=True)

    node: int
    owner: Owner | None
    changed: tuple[_Moved, ...] = ()


def write(node: int, hint: Hint) -> str:
    """One hint from this node; what moved is left out where it is too much, and the other one looks for itself."""
    told = _Told(node=node, owner=hint.owner, changed=tuple(_moved(each) for each in hint.changed))
    text = told.model_dump_json()
    return text if len(text.encode()) <= _LIMIT else _Told(node=node, owner=hint.owner).model_dump_json()


def read(payload: str) -> tuple[int | None, Hint]:
    """Read what :func:`write` wrote: which node says it, and what; anything else may mean anything."""
    try:
        told = _Told.model_validate_json(payload)
    except ValidationError:
        return None, Hint(missed=True)
    return told.node, Hint(owner=told.owner, changed=tuple(_changed(each) for each in told.changed))


def _moved(changed: Changed) -> _Moved:
    return _Moved(
        id=changed.message_id,
        lane=str(changed.lane),
        state=changed.state,
        before=changed.before,
        moved=changed.moved,
        relays=changed.relays,
        sequels=changed.sequels,
    )


def _changed(moved: _Moved) -> Changed:
    return Changed(
        message_id=moved.id,
        lane=Lane.parse(moved.lane),
        state=moved.state,
        before=moved.before,
        moved=moved.moved,
        relays=moved.relays,
        sequels=moved.sequels,
    )
