"""Which rows of which messages share a submission.

Rules
-----
* Rows go in the order of their messages, and within a message in their own. A message of more rows, or bytes, than one
  submission may hold is cut; one that fits is never cut to fill another.
* Messages are merged only where the profile says so, within its limits of rows and bytes, and names stay unique: a
  message whose name would repeat waits for the next submission, and whatever is behind it with it.
* Nothing waits in order to be merged: what has queued up in a lane when its turn comes goes together.
* Order per asset: a name stays back while a row of that name awaits a verdict after which it may have to go again,
  because it was merged or asks for salvage; else the later of the two could be created first.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.core import codec, strict_json
from gateway.core.message import Kind
from gateway.core.profile import Profile
from gateway.core.record import Portion, Waiting
from gateway.errors import StrictJsonError, SubmissionRefused

_ANY_ID = str(uuid.UUID(int=0))  # as long as every submission id


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one submission carries: encoded rows, and whose they are."""

    rows: tuple[bytes, ...]
    portions: tuple[Portion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Every row of a message as this profile puts it on the wire, and its name."""

    message_id: str
    profile: Profile
    rows: Sequence[bytes]
    names: Sequence[str]

    def serves(self, profile: Profile, waiting: Waiting) -> bool:
        """Whether these are the rows of this message under this profile."""
        return self.message_id == waiting.message_id and self.profile is profile


def first_of(profile: Profile, kind: Kind, content: Mapping[str, object]) -> Batch:
    """The rows of a new message that fit into its first submission, from its first row on.

    Raises:
        SubmissionRefused: the profile cannot express one of its rows, now or later.
    """
    encoded = codec.encode_rows(profile, kind, content)
    codec.enclose(profile, kind, _ANY_ID, [max(encoded, key=len, default=b"")])
    fitting = _fitting(profile, kind, encoded)
    names = _names(profile, kind, content)[:fitting]
    return Batch(rows=tuple(encoded[:fitting]), portions=(Portion(rows=range(fitting), names=tuple(names)),))


def gather(
    profile: Profile, waiting: Sequence[Waiting], under_way: AbstractSet[str], head: Encoded | None = None
) -> Batch | None:
    """The rows of the messages at the head of a lane that go together now, the first message always among them.

    None when that has to stay back for the sake of a name that is ``under_way``. ``head`` is the first message, where
    it was encoded before.

    Raises:
        SubmissionRefused: the profile cannot express the first message.
        StrictJsonError: its content is not what was accepted.
    """
    first, *others = waiting
    head = encode(profile, first) if head is None else head
    encoded, names = head.rows, head.names
    pending = [row for span in first.rows for row in span]
    fitting = _fitting(profile, first.kind, [encoded[row] for row in pending])
    rows = [encoded[row] for row in pending[:fitting]]
    portions = _portions(first.message_id, pending[:fitting], names)
    taken = {names[row] for row in pending[:fitting]}
    if not taken.isdisjoint(under_way):
        return None
    taken |= under_way
    if fitting == len(pending) and not first.alone and first.kind in profile.merges:
        for other in others:
            more = _mergeable(profile, first.kind, other, rows, taken)
            if more is None:
                break
            rows += more.rows
            portions += more.portions
            taken |= {name for portion in more.portions for name in portion.names}
    return Batch(rows=tuple(rows), portions=tuple(portions))


def _mergeable(
    profile: Profile, kind: Kind, other: Waiting, rows: Sequence[bytes], taken: AbstractSet[str]
) -> Batch | None:
    """A further message, whole, if it may stand beside these rows."""
    if other.alone or other.kind != kind:
        return None
    try:
        further = encode(profile, other)
    except (SubmissionRefused, StrictJsonError):  # told of when it is at the head of the lane
        return None
    encoded, names = further.rows, further.names
    pending = [row for span in other.rows for row in span]
    together = [*rows, *(encoded[row] for row in pending)]
    if not taken.isdisjoint(names[row] for row in pending) or _fitting(profile, kind, together) < len(together):
        return None
    return Batch(rows=tuple(encoded[row] for row in pending), portions=_portions(other.message_id, pending, names))


def encode(profile: Profile, waiting: Waiting) -> Encoded:
    """Encode every row of a message.

    Raises:
        SubmissionRefused: the profile cannot express it.
        StrictJsonError: its content is not what was accepted.
    """
    content = strict_json.loads(waiting.content, limit=len(waiting.content))  # our own: bounded when it was accepted
    if not isinstance(content, dict):
        raise SubmissionRefused(f"message {waiting.message_id} holds no object")
    return Encoded(
        message_id=waiting.message_id,
        profile=profile,
        rows=codec.encode_rows(profile, waiting.kind, content),
        names=_names(profile, waiting.kind, content),
    )


def _names(profile: Profile, kind: Kind, content: Mapping[str, object]) -> list[str]:
    """What each row of a content is called."""
    ref, assets = profile.shape(kind).ref, content.get("assets")
    named = assets if isinstance(assets, list) else [content.get("unit")]
    return [str(row.get(ref)) if isinstance(row, dict) else "" for row in named]


def _portions(message_id: str, pending: Sequence[int], names: Sequence[str]) -> tuple[Portion, ...]:
    """Rows as consecutive pieces."""
    starts = [at for at, row in enumerate(pending) if not at or row != pending[at - 1] + 1]
    return tuple(
        Portion(
            message_id=message_id,
            rows=range(pending[start], pending[stop - 1] + 1),
            names=tuple(names[row] for row in pending[start:stop]),
        )
        for start, stop in zip(starts, [*starts[1:], len(pending)], strict=True)
    )


def _fitting(profile: Profile, kind: Kind, rows: Sequence[bytes]) -> int:
    """How many of these rows one submission takes, from the first; one at least, if there is one."""
    left = profile.request_content_bytes(kind) - len(codec.enclose(profile, kind, _ANY_ID, [])) + 1
    for count, row in enumerate(rows[: profile.limits.assets_per_submission]):
        left -= len(row) + 1  # and a comma
        if left < 0:
            return max(count, 1)
    return min(len(rows), profile.limits.assets_per_submission)
