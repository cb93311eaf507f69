from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.expression import Expression

NUMBERS = {"a": Decimal("0.1"), "b": Decimal(3), "zero": Decimal(0)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + a + a", "0.3"),  # exact, as it is signed
        ("-a * (b - 1)", "-0.2"),
        ("round(b / 7, 2)", "0.43"),
        ("round(2.5)", "2"),
        ("max(a, b, 1) - min(a, b)", "2.9"),
        ("abs(-b)", "3"),
        ("0.10", "0.10"),
    ],
)
def test_value(text: str, value: str) -> None:
    """Pins the arithmetic, digit by digit."""
    assert str(Expression(text).value(NUMBERS)) == value


def test_points_are_named_once_in_order() -> None:
    """Pins what a message with an expression needs to have read."""
    assert Expression("b + a * b").points == ("b", "a")


REFUSED = """
a + ; a ** 9 ; a << 9 ; a // b ; a % b ; a.real ; a[0] ; 'x' * 9 ; True ; lambda: 1 ; (a for a in b) ; a if b else 1
a < b ; __import__('os') ; pow(a, 9) ; round(a, digits=1) ; min(a) ; min(*a) ; a := 1 ; 1j ; 0x10 ; 1e99999999
+a ; not a ; a and b ; f'{a}' ; [a] ; {} ; ... ; a = b ; (((((((((((((((((((((((((((((((((((((((((((((((((((((
"""


@pytest.mark.parametrize(
    "text", ["", "x" * 201, "+".join("a" * 99), *(t for t in REFUSED.replace("\n", ";").split(";"))]
)
def test_everything_else_is_refused_at_the_load(text: str) -> None:
    """Pins that nothing but arithmetic passes, and nothing that could grow."""
    with pytest.raises(ValueError, match=r"expression|number|takes"):
        Expression(text)


@pytest.mark.parametrize("text", ["a / zero", "zero / zero", "round(a, 99)", "round(a, a)", " * ".join(["b"] * 5)])
def test_what_has_no_value_says_so(text: str) -> None:
    """Pins that a division by 0, or a number out of all bounds, is an error and never a number."""
    numbers = {**NUMBERS, "b": Decimal(10**9)}
    with pytest.raises(ArithmeticError):
        Expression(text).value(numbers)


@given(st.text("ab01.+-*/() ,minaxroud", max_size=40), st.decimals(-(10**9), 10**9, places=3))
def test_no_text_runs_wild(text: str, number: Decimal) -> None:
    """Pins that any text is either refused or calculates to a short number, or to none."""
    try:
        expression = Expression(text)
    except ValueError:
        return
    try:
        value = expression.value(dict.fromkeys(expression.points, number))
    except ArithmeticError:
        return
    assert len(format(value, "f")) < 100
