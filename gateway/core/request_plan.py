"""What a connection asks its device for, how long that takes, and whether there is time for it. Pure; times are µs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_MILLISECOND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRequest:
    """One request, how often it is made, how long it usually takes, and the points it brings."""

    what: str
    every: int
    takes: int
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlan:
    """All requests of one connection; ``line`` names what it shares with others: one request at a time passes there."""

    line: str
    requests: tuple[PlannedRequest, ...]

    def cycles(self) -> Mapping[int, tuple[int, int]]:
        """For each period how many requests are made, and how long they take together."""
        found: dict[int, tuple[int, int]] = {}
        for request in self.requests:
            count, takes = found.get(request.every, (0, 0))
            found[request.every] = (count + 1, takes + request.takes)
        return dict(sorted(found.items()))

    @property
    def load(self) -> float:
        """The share of all time in which the line is busy with it."""
        return sum(request.takes / request.every for request in self.requests)


def described(plan: RequestPlan) -> str:
    """The plan in one line."""
    if not plan.requests:
        return "nothing is asked for"
    cycles = [
        f"{count} {'request' if count == 1 else 'requests'} every {shown(every)}, which take about {shown(takes)}"
        for every, (count, takes) in plan.cycles().items()
    ]
    return "; ".join(cycles)


def listed(points: Iterable[str]) -> str:
    """The points of a request; those of an array by its elements, such as ``pcs.0-3 rated energy``."""
    elements: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    alone: list[str] = []
    members: dict[tuple[str, int], list[str]] = {}
    for point in points:
        array, _, rest = point.partition(".")
        index, _, member = rest.partition(".")
        if member:
            members.setdefault((array, int(index)), []).append(member)
        else:
            alone.append(point)
    for (array, number), names in members.items():
        elements.setdefault((array, tuple(sorted(names))), []).append(number)
    repeated = [f"{array}.{_numbers(numbers)} {' '.join(names)}" for (array, names), numbers in elements.items()]
    return ", ".join([*alone, *repeated])


def overloads(plans: Mapping[str, RequestPlan]) -> Iterator[str]:
    """A sentence for each period that cannot be met, and for each line that is asked for more than all of its time."""
    late: set[str] = set()
    for name, plan in plans.items():
        for every, (count, takes) in plan.cycles().items():
            if takes > every:
                late.add(plan.line)
                yield (
                    f"{name}: a period of {shown(every)} cannot be met: {count} requests take about {shown(takes)}; "
                    "poll more slowly, or give points that may be slower a poll of their own"
                )
    for line, shared in _by_line(plans).items():
        load = sum(plans[name].load for name in shared)
        if load > 1 and line not in late:
            names = ", ".join(shared)
            yield f"{names}: the periods cannot be met: together they ask for {load:.0%} of the time of {line}"


def shown(time: int) -> str:
    """A time for people."""
    milliseconds = time / _MILLISECOND
    return f"{milliseconds:.0f}ms" if milliseconds < _MILLISECOND else f"{milliseconds / _MILLISECOND:g}s"


def _numbers(numbers: list[int]) -> str:
    first, last = min(numbers), max(numbers)
    whole = len(numbers) == last - first + 1
    return f"{first}-{last}" if whole and last > first else ",".join(str(number) for number in sorted(numbers))


def _by_line(plans: Mapping[str, RequestPlan]) -> Mapping[str, list[str]]:
    lines: dict[str, list[str]] = {}
    names: Iterable[str] = sorted(plans)
    for name in names:
        lines.setdefault(plans[name].line, []).append(name)
    return lines
