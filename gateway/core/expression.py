"""Arithmetic over points in a message's template: ``pcs_1 + pcs_2``, ``round(min(limit, 50) * 0.95, 1)``.

Rules
-----
* An expression is parsed once, at the load; only numbers, points, ``+ - * /``, parentheses and the functions below
  pass. There is no power, no attribute, no text and no loop, and size and digits are bounded: nothing can run long.
* Everything is exact decimal arithmetic with 28 digits; use ``round`` after a division.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

_LENGTH, _NODES = 200, 60
_CONTEXT = Context(
    prec=28, rounding=ROUND_HALF_EVEN, Emin=-40, Emax=40, traps=[InvalidOperation, DivisionByZero, Overflow]
)

Node = Callable[[Mapping[str, Decimal]], Decimal]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; ``points`` are those that it needs, in the order of their first use.

    Raises:
        ValueError: it is none, or holds what is not allowed.
    """

    text: str
    points: tuple[str, ...] = field(init=False, compare=False)
    _root: Node = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.text) > _LENGTH:
            raise ValueError(f"an expression has at most {_LENGTH} characters")
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ValueError(f"{self.text!r} is no expression; write such as pcs_1 + 0.5 * pcs_2") from None
        if sum(isinstance(node, ast.expr) for node in ast.walk(tree)) > _NODES:
            raise ValueError(f"an expression has at most {_NODES} numbers, points and signs")
        names: dict[str, None] = {}
        object.__setattr__(self, "_root", _compiled(tree, self.text.strip(), names))
        object.__setattr__(self, "points", tuple(names))

    def value(self, numbers: Mapping[str, Decimal]) -> Decimal:
        """Its value with these numbers for its points.

        Raises:
            ArithmeticError: it has none, such as by a division by 0.
        """
        found = self._root(numbers)
        if not found.is_finite():
            raise InvalidOperation(found)
        return found


def _compiled(node: ast.expr, text: str, names: dict[str, None]) -> Node:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            number = _number(ast.get_source_segment(text, node) or "")
            return lambda _: number
        case ast.Name(id=name):
            names[name] = None
            return lambda numbers: numbers[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compiled(operand, text, names)
            return lambda numbers: _CONTEXT.minus(inner(numbers))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            combine = _OPERATORS[type(operator)]
            one, other = _compiled(left, text, names), _compiled(right, text, names)
            return lambda numbers: combine(one(numbers), other(numbers))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            count, function = _FUNCTIONS[name]
            if len(arguments) not in count:
                raise ValueError(f"{name} takes {count.start} to {count.stop - 1} values")
            parts = [_compiled(each, text, names) for each in arguments]
            return lambda numbers: function(*(part(numbers) for part in parts))
    shown = ast.get_source_segment(text, node) or text
    raise ValueError(f"{shown!r} is not allowed in an expression; there are + - * / and {', '.join(_FUNCTIONS)}")


def _number(digits: str) -> Decimal:
    """Read the digits as they are written; a float would have changed them."""
    try:
        return _CONTEXT.create_decimal(digits)
    except ArithmeticError:
        raise ValueError(f"{digits} is no number that can be calculated with") from None


def _rounded(value: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    if digits != int(digits) or not 0 <= digits <= 12:
        raise InvalidOperation(digits)
    return _CONTEXT.quantize(value, Decimal(1).scaleb(-int(digits)))


_OPERATORS: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: _CONTEXT.add,
    ast.Sub: _CONTEXT.subtract,
    ast.Mult: _CONTEXT.multiply,
    ast.Div: _CONTEXT.divide,
}
_FUNCTIONS: Mapping[str, tuple[range, Callable[..., Decimal]]] = {
    "min": (range(2, 9), min),
    "max": (range(2, 9), max),
    "abs": (range(1, 2), _CONTEXT.abs),
    "round": (range(1, 3), _rounded),
}
