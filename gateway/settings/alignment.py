"""What messages say of each other, at one site and among those of a participant: who sets off whom, who aligns whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.core.mapping import AlignedMessage, VerdictTrigger
from gateway.core.message import ASSETS
from gateway.core.transaction import State
from gateway.settings.document import Path
from gateway.settings.quantities import among, shown
from gateway.settings.site_parts import SiteParts


def check_alignments(sites: Sequence[SiteParts], *, all_sites: bool) -> None:
    """Note every message that sets itself off in the end, and every entry of ``aligned`` that cannot be meant.

    Without ``all_sites`` there are files that could not be parsed, and an unknown site may stand in one of them.
    """
    homes = {str(parts.document.tree.get("site")): parts for parts in sites}
    for parts in sites:
        _circles(parts)
        for name, message in parts.messages.items():
            seen: dict[object, int] = {}
            for place, entry in enumerate(message.aligned):
                path: Path = ("messages", name, "aligned", place)
                if seen.setdefault(entry, place) != place:
                    parts.blame(path, "stands in aligned twice")
                if isinstance(entry, AlignedMessage):
                    _meant(parts, path, entry, homes, all_sites=all_sites)
                    _fails_anyhow(parts, name, path, entry)


def _meant(
    parts: SiteParts, path: Path, entry: AlignedMessage, homes: Mapping[str, SiteParts], *, all_sites: bool
) -> None:
    """The message exists, at a site of the same participant, and creates assets."""
    home, participant = homes.get(entry.site), parts.document.tree.get("participant")
    if home is None:
        own = [name for name, other in homes.items() if other.document.tree.get("participant") == participant]
        if all_sites:
            parts.blame(path, f"there is no site {shown(entry.site)}{among(entry.site, own)}")
        return
    other = home.document.tree.get("participant")
    if other != participant:
        said = f"site {entry.site} belongs to participant {other}; a unit aligns assets of its own participant only"
        parts.blame(path, said)
        return
    if entry.message not in home.names("messages"):
        where = "" if home is parts else f" at site {entry.site}"
        said = f"there is no message {shown(entry.message)}{where}{among(entry.message, _of_assets(home))}"
        parts.blame(path, said)
    elif (message := home.messages.get(entry.message)) is not None and message.kind != ASSETS:
        parts.blame(path, f"message {entry.message} is of kind {message.kind}; a unit aligns assets")


def _of_assets(parts: SiteParts) -> Iterator[str]:
    return (name for name, message in parts.messages.items() if message.kind == ASSETS)


def _fails_anyhow(parts: SiteParts, name: str, path: Path, entry: AlignedMessage) -> None:
    """A unit that a message's failure sets off cannot align what that very message did not create."""
    trigger = parts.messages[name].trigger
    here = entry.site == str(parts.document.tree.get("site"))
    after = trigger if here and isinstance(trigger, VerdictTrigger) and trigger.message == entry.message else None
    if after is not None and State.COMPLETED not in after.on:
        said = f"message {entry.message} sets this unit off by failing, and then its assets are not there"
        parts.blame(path, said)


def _circles(parts: SiteParts) -> None:
    """Blame the first message of each circle of messages that set each other off."""
    parents = {
        name: message.trigger.message
        for name, message in parts.messages.items()
        if isinstance(message.trigger, VerdictTrigger)
    }
    told: set[str] = set()
    for name in parents:
        way = [name]
        while (parent := parents.get(way[-1])) is not None and parent not in way:
            way.append(parent)
        if parent == name and not told & set(way):
            told |= set(way)
            circle = " after ".join([*way, name])
            parts.blame(("messages", name, "when"), f"this message sets itself off: {circle}")
