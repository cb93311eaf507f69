"""What `messages show` tells of a message to somebody who looks at it in the night."""

from __future__ import annotations

import io

from rich.console import Console

from gateway.app import MessageStory
from gateway.cli import messages
from gateway.core.message import ASSETS, Created, Hop, Lane, Message, Problem
from gateway.core.transaction import State
from gateway.edge.journal.reader import AuditRow

DAY = 86_400_000_000
START = 1_795_616_641_000_000  # 2026-11-25T14:24:01Z


def shown(message: Message, *audit: AuditRow) -> str:
    """The picture on a terminal of 80 columns."""
    screen = io.StringIO()
    story = MessageStory(
        message=message,
        raw=b"",
        revision="r1",
        rules=(),
        submissions=(),
        portions=(),
        attempts=(),
        callbacks=(),
        relays=(),
        audit=audit,
    )
    messages._print(Console(file=screen, width=80), story)
    return screen.getvalue()


def a_message(content: bytes = b"{}", *, created: int = 0, problems: int = 0) -> Message:
    return Message(
        id="dbfc171d",
        lane=Lane(environment="test", participant="exstor", site="hams-bess", message="battery"),
        kind=ASSETS,
        intake_key="plc:1.1",
        content=content,
        rows=max(created, 1),
        state=State.ESCALATED,
        accepted_at=START,
        updated_at=START,
        problems=tuple(Problem(row=row, code="mpan", message="bad") for row in range(problems)),
        created=tuple(Created(ref=f"PCS {row}", smp_id=f"A-{row}") for row in range(created)),
        hops={Hop.SENT: START + 1_000_000},
    )


def test_a_step_of_another_day_says_which_day() -> None:
    """Escalated a day and an hour after it was sent: its time alone would look like an hour later."""
    end = AuditRow(
        at=START + DAY + 3_600_000_000,
        actor="gateway",
        event="verdict_limit",
        submission_id=None,
        from_state=State.AWAITING,
        to_state=State.ESCALATED,
        detail="no verdict came within the limit",
    )
    lines = shown(a_message(), end).splitlines()
    (sent,) = [line for line in lines if "hop sent" in line]
    (escalated,) = [line for line in lines if "verdict_limit" in line]
    assert sent.split()[0] == "14:24:02.000000"
    assert escalated.split()[:2] == ["11-26", "15:24:01.000000"]


def test_a_thousand_rows_do_not_push_the_state_off_the_screen() -> None:
    """Content, results and problems are cut, each saying how much more there is and where it can be had."""
    text = shown(a_message(b'{"assets":[' + b"1," * 50_000 + b"1]}", created=1000, problems=500))
    assert len(text.splitlines()) < 120
    assert "PCS 0 is A-0" in text
    assert "980 more" in text
    assert "480 more" in text
    assert text.count("--json") == 3
