"""Whether there is time for what is asked, of one connection and of a line that several share."""

from __future__ import annotations

from gateway.core.request_plan import PlannedRequest, RequestPlan, described, overloads


def plan(line: str, *requests: tuple[int, int]) -> RequestPlan:
    """Requests as (every, takes) in ms."""
    made = (PlannedRequest(what="holding:1", every=every * 1000, takes=takes * 1000) for every, takes in requests)
    return RequestPlan(line=line, requests=tuple(made))


def test_what_fits_is_not_told() -> None:
    """Half of the time on its own line, twice, is no trouble."""
    assert not list(overloads({"a": plan("a", (1000, 500)), "b": plan("b", (1000, 500), (60_000, 900))}))


def test_a_line_that_several_share_has_one_time() -> None:
    """Four units behind one gateway, each of which would fit alone."""
    four = {f"site/unit-{n}": plan("10.0.0.1:502", (1000, 300)) for n in range(1, 5)}
    (said,) = overloads(four)
    assert said == (
        "site/unit-1, site/unit-2, site/unit-3, site/unit-4: the periods cannot be met: together they ask for 120% of "
        "the time of 10.0.0.1:502"
    )


def test_a_period_that_is_too_short_is_told_once_with_its_numbers() -> None:
    """Not again for its line."""
    (said,) = overloads({"a": plan("x", (1000, 300), (1000, 900)), "b": plan("x", (1000, 100))})
    assert said.startswith("a: a period of 1s cannot be met: 2 requests take about 1.2s")


def test_the_plan_in_one_line() -> None:
    """By period, the shortest first."""
    assert described(plan("x", (60_000, 20), (250, 20), (250, 40))) == (
        "2 requests every 250ms, which take about 60ms; 1 request every 60s, which take about 20ms"
    )
    assert described(plan("x")) == "nothing is asked for"
