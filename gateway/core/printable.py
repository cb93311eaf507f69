"""Text from outside, made harmless for a terminal: a control character is shown, never obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    """Write everything that is not printable as Python would escape it: ESC becomes a backslash, x, 1, b."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
