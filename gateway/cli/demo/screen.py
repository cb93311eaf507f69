"""The demo's picture: a table of messages with the milliseconds of each hop, and the summary at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.simulate.story import EXPECTED, Act, Told
from gateway.core import alignment, strict_json
from gateway.core.mailbox import STATE_CODES
from gateway.core.message import UNIT, Hop, Message
from gateway.core.transaction import State

# Each hop, and the one that it is measured from: acknowledging and sending both start at the commit.
_WAYS: Mapping[str, tuple[tuple[Hop, Hop], ...]] = {
    "site to SMP": (
        (Hop.SEEN, Hop.SNAPSHOT),
        (Hop.SNAPSHOT, Hop.COMMITTED),
        (Hop.COMMITTED, Hop.ACKNOWLEDGED),
        (Hop.COMMITTED, Hop.SIGNED),
        (Hop.SIGNED, Hop.SENT),
        (Hop.SENT, Hop.ANSWERED),
    ),
    "SMP to site": (
        (Hop.CALLED_BACK, Hop.VERIFIED),
        (Hop.VERIFIED, Hop.SETTLED),
        (Hop.SETTLED, Hop.RELAYED),
        (Hop.RELAYED, Hop.READ_BACK),
    ),
}
_SHOWN: Mapping[Hop, str] = {
    Hop.COMMITTED: "on disk",
    Hop.ACKNOWLEDGED: "ack'd",
    Hop.SENT: "sent",
    Hop.ANSWERED: "answer",
    Hop.CALLED_BACK: "called",
    Hop.READ_BACK: "at site",
}
_WIDE = 112  # columns of a terminal that shows everything
_LEFT_OUT = frozenset({Hop.ACKNOWLEDGED, Hop.CALLED_BACK})  # on a narrower one
_ROWS = 15
_COLOURS: Mapping[State, str] = {
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.REFUSED: "yellow",
    State.REJECTED: "red",
    State.IN_DOUBT: "magenta",
    State.ESCALATED: "bold red",
}


def picture(messages: Sequence[Message], heading: str, width: int) -> RenderableType:
    """The newest messages, oldest first; each hop in ms since the gateway saw the request."""
    shown = {hop: short for hop, short in _SHOWN.items() if width >= _WIDE or hop not in _LEFT_OUT}
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in (*(("site", "message") if width >= _WIDE else ()), "asset or unit", "state", "transaction"):
        table.add_column(name, no_wrap=True)
    for short in shown.values():
        table.add_column(short, justify="right", no_wrap=True)
    for message in reversed(messages[:_ROWS]):
        table.add_row(
            *((message.lane.site, message.id[:8]) if width >= _WIDE else ()),
            _name(message),
            Text(message.state, style=_COLOURS.get(message.state, "cyan")),
            message.transaction_id or "-",
            *(_since_seen(message, hop) for hop in shown),
        )
    note = f"the last {len(shown)} columns: milliseconds since the gateway saw the request"
    return Group(Text(heading), table, Text(note, "dim"))


def results(told: Sequence[Told]) -> RenderableType:
    """What every plant read back in its own registers."""
    table = Table(title="\nwhat the plants read back", title_justify="left", box=SIMPLE_HEAD)
    for name in ("site", "asked for", "STATE"):
        table.add_column(name, no_wrap=True)
    table.add_column("first error", overflow="fold")
    for one in sorted(told, key=lambda each: (each.site, each.sequence)):
        table.add_row(one.site, one.act, _state_told(one), one.result.text)
    return table


def latencies(messages: Sequence[Message]) -> RenderableType:
    """How long each hop took after the one before it, over all messages."""
    table = Table(title="milliseconds per hop", title_justify="left", box=SIMPLE_HEAD)
    for name in ("way", "hop", "n", "median", "worst"):
        table.add_column(name, justify="left" if name in {"way", "hop"} else "right")
    for way, pairs in _WAYS.items():
        for before, after in pairs:
            spans = [
                (message.hops[after] - message.hops[before]) / 1000
                for message in messages
                if before in message.hops and after in message.hops
            ]
            if spans:
                table.add_row(way, f"{before} → {after}", str(len(spans)), f"{median(spans):.1f}", f"{max(spans):.1f}")
    return table


def verdict(told: Sequence[Told], sites: int, messages: Sequence[Message]) -> tuple[bool, str]:
    """Whether every plant was told what it had to be told and every unit was created, and a sentence about it."""
    missing = sites * len(Act) - len(told)
    wrong = [one for one in told if not one.as_expected]
    units = [message.state for message in messages if message.kind == UNIT]
    if missing <= 0 and not wrong and set(units) == {State.COMPLETED}:
        said = f"{len(told)} requests of {sites} sites: none lost, every result read back at its site; "
        return True, f"{said}{len(units)} unit created after its battery."
    return False, f"{missing} results missing, {len(wrong)} not as expected, units: {', '.join(units) or 'none'}."


def _state_told(told: Told) -> Text:
    code = told.result.state
    word = next((state.value for state in State if STATE_CODES.get(state) == code), "unknown")
    if told.as_expected:
        return Text(f"{code} {word}", style="green")
    return Text(f"{code} {word}, not {EXPECTED[told.act]}", style="bold red")


def _name(message: Message) -> str:
    """Its first asset or its unit, as the site calls it."""
    content = strict_json.loads(message.content)
    return next((each.name for each in alignment.creations(content)), "-") if isinstance(content, dict) else "-"


def _since_seen(message: Message, hop: Hop) -> str:
    seen, at = message.hops.get(Hop.SEEN), message.hops.get(hop)
    return f"{(at - seen) / 1000:.1f}" if seen is not None and at is not None else ""
