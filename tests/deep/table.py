"""docs/assurance.md: what was tried so far for each promise, from the ledger, and what that lets one say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.deep.ledger import Ledger
from tests.deep.promises import Promise

_HEAD = """# Assurance: how often each promise was tried

This page is written by `make deep` from the ledger in [docs/assurance](assurance), one line per round with commit,
machine, seed and failures. `make deep P=P1 MINUTES=20` goes on where the last run ended, and may be interrupted.

Only rounds on the code as it was when this page was written count: when a file that a promise is about changes, its n
begins again at 0. Without a failure in n independent trials the chance of one is below 3/n, with 95 % confidence; P2
goes through all of its points instead, again and again. `make test` tries each promise at a small size beside this.

| Promise | says | tried | failures | chance of a failure | goal | last tried |
|---|---|---|---|---|---|---|
"""


def write(target: Path, folder: Path, promises: Iterable[Promise]) -> None:
    """Write the page anew."""
    rows = (_row(each, Ledger(folder, each.name, each.concerned)) for each in promises)
    target.write_text(_HEAD + "".join(rows), encoding="utf-8")


def _row(promise: Promise, ledger: Ledger) -> str:
    lines = ledger.counted()
    n, failures = sum(line.n for line in lines), sum(len(line.failures) for line in lines)
    bound = "not known" if not n or failures else f"< {3 / n:.2g}"
    last = max((line.at[:10] for line in lines), default="never")
    tried = f"{n:,} {promise.unit}"
    return f"| {promise.name} | {promise.says} | {tried} | {failures} | {bound} | {promise.goal:,} | {last} |\n"
