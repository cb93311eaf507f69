"""docs/assurance.md: what was tried so far for each promise, from the ledger, and what that lets one say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.deep.ledger import Ledger, Line
from tests.deep.promises import OFTEN, Promise

_HEAD = """# Assurance: how often each promise was tried

This page is written by `make deep` from the ledger in [docs/assurance](assurance), one line per round with commit,
machine, seed and failures. `make deep P=P1 MINUTES=20` goes on where the last run ended, and may be interrupted.

**On this code** counts the rounds on the files that a promise is about, as they were when this page was written: with
one changed comment among them it begins again at 0. **Ever** counts every round since the first, on whatever the code
was by then, with all failures that there were: it says how much the product has come through, and nothing certain about
the code of today. Without a failure in n independent trials the chance of one is below 3/n, with 95 % confidence; P2
goes through all of its points instead, and P10 through all of its faults, again and again. `make test` tries each
promise at a small size beside this.

| Promise | says | on this code | failures | chance of a failure | ever | failures ever | goal | last tried |
|---|---|---|---|---|---|---|---|---|
"""


def write(target: Path, folder: Path, promises: Iterable[Promise]) -> None:
    """Write the page anew."""
    ledgers = [(each, Ledger(folder, each.name, each.concerned)) for each in promises]
    rows = (_row(promise, ledger.counted(), list(ledger.lines())) for promise, ledger in ledgers)
    seldom = (_seldom(each, ledger.counted(), list(ledger.lines())) for each, ledger in ledgers if each.often)
    remarks = (f"\n{each.name}: {each.remark}\n" for each, _ in ledgers if each.remark)
    target.write_text(_HEAD + "".join((*rows, *seldom, *remarks)), encoding="utf-8")


def _row(promise: Promise, counted: Sequence[Line], ever: Sequence[Line]) -> str:
    n, failures = _sums(counted)
    before, failed = _sums(ever)
    bound = "not known" if not n or failures else f"< {3 / n:.2g}"
    last = max((line.at[:10] for line in ever), default="never")
    minutes = sum(line.seconds for line in ever) / 60
    tried = f"{n:,} {promise.unit} | {failures} | {bound} | {before:,} in {minutes:.0f} min | {failed}"
    return f"| {promise.name} | {promise.says} | {tried} | {promise.goal:,} | {last} |\n"


def _sums(lines: Iterable[Line]) -> tuple[int, int]:
    found = [(line.n, len(line.failures)) for line in lines]
    return sum(n for n, _ in found), sum(failures for _, failures in found)


def _seldom(promise: Promise, counted: Sequence[Line], ever: Sequence[Line]) -> str:
    """What all rounds, and those on this code, have not reached often enough yet."""
    now, before = _reached(counted), _reached(ever)
    often = [sum(reached[step] >= OFTEN for step in promise.often) for reached in (now, before)]
    told = f"\nOf {len(promise.often)} steps, {promise.name} has taken {often[0]} at least {OFTEN} times on this code"
    seldom = [f"{step} ({before[step]})" for step in promise.often if before[step] < OFTEN]
    return f"{told} and {often[1]} ever; less often ever: {', '.join(seldom) or 'none'}.\n"


def _reached(lines: Iterable[Line]) -> Counter[str]:
    reached: Counter[str] = Counter()
    for line in lines:
        reached.update(line.reached)
    return reached
