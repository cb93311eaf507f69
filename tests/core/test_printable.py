"""Text from outside cannot speak to a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.printable import printable


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    """Whatever comes in, what goes out is printable and can be written as UTF-8."""
    assert printable(text).isprintable()
    printable(text).encode()


def test_what_people_read_stays_as_it_is() -> None:
    """Letters of any language stay; an escape sequence is shown."""
    assert printable("Dörfli 1 → ok") == "Dörfli 1 → ok"
    assert printable("\x1b]0;pwned\x07\n") == "\\x1b]0;pwned\\x07\\n"
