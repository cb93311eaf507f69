"""Topic names and filters (MQTT 5.0 section 4.7): what may be written in YAML, what matches, what overlaps."""

from __future__ import annotations

_LENGTH = 65_535  # bytes of UTF-8, section 1.5.4


def check_topic(topic: str) -> str:
    """A topic that can be published to.

    Raises:
        ValueError: it is empty, too long, has wildcards, or belongs to the broker itself.
    """
    _check(topic)
    if "+" in topic or "#" in topic:
        raise ValueError(f"{topic!r} has wildcards; a topic to publish to is written in full")
    return topic


def check_filter(pattern: str) -> str:
    """A topic filter that can be subscribed to; ``+`` stands for one level, ``#`` for all the rest.

    Raises:
        ValueError: it is empty, too long, a shared subscription, or has a wildcard where none may be.
    """
    _check(pattern)
    levels = pattern.split("/")
    if any("#" in level for level in levels[:-1]) or levels[-1] not in {"#", levels[-1].replace("#", "")}:
        raise ValueError(f"{pattern!r}: # stands for all the rest, so it may only be the last level")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError(f"{pattern!r}: + stands for a whole level, so nothing may stand beside it")
    return pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether a message on ``topic`` reaches a subscription to ``pattern``."""
    if "+" not in pattern and "#" not in pattern:
        return pattern == topic
    if topic.startswith("$") and not pattern.startswith("$"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)] if len(levels) >= len(wanted) else levels
    return len(wanted) == len(levels) and all(want in {"+", level} for want, level in zip(wanted, levels, strict=True))


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters."""
    return _overlap(one.split("/"), other.split("/"))


def results_beside(topic: str) -> str:
    """Where results go when the YAML does not say: ``result`` in place of the topic's last level; ``#`` stays."""
    levels = topic.split("/")
    return topic if levels[-1] == "#" else "/".join([*levels[:-1], "result"])


def _overlap(one: list[str], other: list[str]) -> bool:
    if one[:1] == ["#"] or other[:1] == ["#"]:
        return True
    if not one or not other:  # "a/#" matches "a" as well
        return one == other
    if one[0] != other[0] and "+" not in (one[0], other[0]):
        return False
    return _overlap(one[1:], other[1:])


def _check(topic: str) -> None:
    if not topic or "\0" in topic or len(topic.encode()) > _LENGTH:
        raise ValueError(f"{topic!r:.80} is not a topic: 1 to {_LENGTH} bytes, without a NUL")
    if topic.startswith("$"):
        raise ValueError(f"{topic!r}: topics that begin with $ are the broker's own, or shared subscriptions")
