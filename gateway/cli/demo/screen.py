"""The demo's picture: a table of messages with the milliseconds of each hop, and the summary at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.demo.story import EXPECTED, Act, Told
from gateway.core import strict_json
from gateway.core.message import Hop, Message
from gateway.core.transaction import State

# The two ways of a message, and the hops that the table shows of each.
UPLINK = (Hop.SEEN, Hop.SNAPSHOT, Hop.COMMITTED, Hop.ACKNOWLEDGED, Hop.SIGNED, Hop.SENT, Hop.ANSWERED)
DOWNLINK = (Hop.CALLED_BACK, Hop.VERIFIED, Hop.SETTLED, Hop.RELAYED, Hop.READ_BACK)
_SHOWN = (Hop.COMMITTED, Hop.ACKNOWLEDGED, Hop.SENT, Hop.ANSWERED, Hop.CALLED_BACK, Hop.READ_BACK)
_ROWS = 15
_COLOURS: Mapping[State, str] = {
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.REFUSED: "yellow",
    State.REJECTED: "red",
    State.IN_DOUBT: "magenta",
    State.ESCALATED: "bold red",
}


def picture(messages: Sequence[Message], heading: str) -> RenderableType:
    """The newest messages, oldest first; each hop in ms since the gateway saw the request."""
    table = Table(caption="ms since the gateway first saw the request", caption_justify="right", expand=True)
    for name in ("site", "message", "asset", "state", "transaction"):
        table.add_column(name, no_wrap=True)
    for hop in _SHOWN:
        table.add_column(hop.replace("_", " "), justify="right")
    for message in reversed(messages[:_ROWS]):
        table.add_row(
            message.lane.site,
            message.id[:8],
            _asset(message),
            Text(message.state, style=_COLOURS.get(message.state, "cyan")),
            message.transaction_id or "-",
            *(_since_seen(message, hop) for hop in _SHOWN),
        )
    return Group(Text(heading), table)


def results(told: Sequence[Told]) -> RenderableType:
    """What every plant read back in its own registers."""
    table = Table(title="read back by the plants", title_justify="left")
    for name in ("site", "asked for", "expected", "STATE", "errors", "text in the result block"):
        table.add_column(name)
    for one in sorted(told, key=lambda each: (each.site, each.sequence)):
        table.add_row(
            one.site,
            one.act,
            Text(EXPECTED[one.act], style="green" if one.as_expected else "bold red"),
            str(one.result.state),
            str(one.result.error_count),
            one.result.text,
        )
    return table


def latencies(messages: Sequence[Message]) -> RenderableType:
    """How long each hop took after the one before it, over all messages."""
    table = Table(title="milliseconds per hop", title_justify="left")
    for name in ("way", "hop", "n", "median", "worst"):
        table.add_column(name, justify="left" if name in {"way", "hop"} else "right")
    for way, hops in (("site to SMP", UPLINK), ("SMP to site", DOWNLINK)):
        for before, after in pairwise(hops):
            spans = [
                (message.hops[after] - message.hops[before]) / 1000
                for message in messages
                if before in message.hops and after in message.hops
            ]
            if spans:
                table.add_row(way, f"{before} → {after}", str(len(spans)), f"{median(spans):.2f}", f"{max(spans):.2f}")
    return table


def verdict(told: Sequence[Told], sites: int) -> tuple[bool, str]:
    """Whether every plant was told what it had to be told, and a sentence about it."""
    missing = sites * len(Act) - len(told)
    wrong = [one for one in told if not one.as_expected]
    if missing <= 0 and not wrong:
        return True, f"{len(told)} requests of {sites} sites: none lost, every result read back at its site."
    return False, f"{missing} results missing, {len(wrong)} not as expected."


def _asset(message: Message) -> str:
    content = strict_json.loads(message.content)
    assets = content.get("assets") if isinstance(content, dict) else None
    first = assets[0] if isinstance(assets, list) and assets else {}
    return str(first.get("assetName", "-")) if isinstance(first, dict) else "-"


def _since_seen(message: Message, hop: Hop) -> str:
    seen, at = message.hops.get(Hop.SEEN), message.hops.get(hop)
    return f"{(at - seen) / 1000:.1f}" if seen is not None and at is not None else ""
