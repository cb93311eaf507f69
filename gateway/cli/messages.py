"""`smp-gateway messages`: what the journal knows, beside a running gateway or without one, and what people decide."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.app import MessageStory, open_reader
from gateway.cli import message_acts
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.operations import AsJson
from gateway.core import codec
from gateway.core.message import Hop, Message, Problem, Submission
from gateway.core.printable import printable
from gateway.core.record import MessageFilter
from gateway.core.transaction import State
from gateway.errors import GatewayError

_SHOWN_PORTIONS = 8  # of a submission, in the picture for people
_SHOWN_LINES = 20  # of problems, warnings and results each
_SHOWN_CONTENT = 2000  # characters
_AGAIN = " (sent again: refused for other rows' sake)"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _act in (
    message_acts.request,
    message_acts.retry,
    message_acts.refuse,
    message_acts.resend,
    message_acts.resolve,
):
    app.command()(_act)


@app.command("list")
def list_messages(
    path: ConfigPath,
    state_folder: StateFolder = None,
    *,
    participant: Annotated[str | None, typer.Option(help="Only this participant's.")] = None,
    site: Annotated[str | None, typer.Option(help="Only this site's.")] = None,
    state: Annotated[State | None, typer.Option("--in", help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first, each with its first problem and first warning below."""
    which = MessageFilter(participant=participant, site=site, state=state, limit=limit)
    try:
        with open_reader(load(path, state_folder).journal) as reader:
            messages = reader.history(which)
    except GatewayError as error:
        raise fail(error) from None
    if as_json:
        typer.echo(codec.dumps([_summary(message) for message in messages]).decode())
        return
    if not messages:
        typer.echo("no such message")
        return
    typer.echo(
        f"{'accepted (UTC)':<20} {'id':<9} {'environment/participant/site/message':<38} {'state':<10} transaction"
    )
    for message in messages:
        accepted = _time(message.accepted_at, "%Y-%m-%d %H:%M:%S")
        lane, transaction = str(message.lane), printable(message.transaction_id or "-")
        typer.echo(f"{accepted}  {message.id[:8]}  {lane:<38} {message.state:<10} {transaction}")
        for told, found in (("", message.problems), ("warning: ", message.warnings)):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            for problem in found[:1]:
                typer.echo(f"{'':<31}{told}{printable(str(problem))}{more}")


@app.command()
def show(
    path: ConfigPath,
    message_id: Annotated[str, typer.Argument(metavar="ID", help="The message's id, or its beginning.")],
    state_folder: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show everything that happened to one message: its timeline, attempts, callbacks and relays."""
    try:
        with open_reader(load(path, state_folder).journal) as reader:
            found = reader.named(message_id)
            story = reader.story(found[0]) if len(found) == 1 else None
    except GatewayError as error:
        raise fail(error) from None
    if story is None:
        many = f"several messages begin with {message_id}: {', '.join(found)}" if found else None
        typer.echo(printable(many or f"no message begins with {message_id}; `messages list` shows the ids"), err=True)
        raise typer.Exit(2)
    if as_json:
        typer.echo(codec.dumps(_story(story)).decode())
    else:
        _print(Console(), story)


def _print(console: Console, story: MessageStory) -> None:
    message = story.message
    console.print(f"[bold]{message.id}[/bold]  {message.lane}  [bold]{message.state}[/bold]")
    console.print(f"{message.kind}, {message.rows} rows, key {message.intake_key}, configuration {story.revision}")
    content = message.content.decode()
    more = f" and {len(content) - _SHOWN_CONTENT} characters more (--json)" if len(content) > _SHOWN_CONTENT else ""
    console.print(f"content {content[:_SHOWN_CONTENT]}{more}", highlight=False, markup=False)
    for lines in (
        [f"{problem.code}: {problem}" for problem in message.problems],
        [f"warning, {warning.code}: {warning}" for warning in message.warnings],
        [f"{created.ref} is {created.smp_id}" for created in message.created],
    ):
        for line in lines[:_SHOWN_LINES]:
            console.print(printable(f"  {line}"), highlight=False, markup=False)
        if len(lines) > _SHOWN_LINES:
            console.print(f"  and {len(lines) - _SHOWN_LINES} more (--json)", highlight=False)
    console.print(_timeline(story))
    for title, lines in _evidence(story).items():
        for line in lines:
            console.print(printable(f"{title} {line}"), highlight=False, markup=False)


def _timeline(story: MessageStory) -> Table:
    """Hops and audited steps in one order of time."""
    day = _time(story.message.accepted_at, "%Y-%m-%d")
    table = Table(title=f"timeline, UTC, from {day}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("time", "what", "from", "to", "detail"):
        table.add_column(name, no_wrap=name != "detail", overflow="fold")
    hops = [(at, f"hop {hop}", "", "", "") for hop, at in story.message.hops.items()]
    steps = [
        (row.at, f"{row.event} by {row.actor}", row.from_state or "", row.to_state or "", row.detail)
        for row in story.audit
    ]
    for at, *cells in sorted([*hops, *steps], key=lambda line: line[0]):
        form = "%H:%M:%S.%f" if _time(at, "%Y-%m-%d") == day else "%m-%d %H:%M:%S.%f"
        table.add_row(_time(at, form), *(Text(printable(cell)) for cell in cells))
    return table


def _evidence(story: MessageStory) -> dict[str, list[str]]:
    """One line for each submission, attempt, callback and relay."""
    return {
        "submission": [_carries(story, submission) for submission in story.submissions],
        "attempt": [
            f"{row.submission_id} #{row.number} jti {row.jti} key {row.key_id}: "
            f"{row.outcome or 'under way when the gateway ended'} {row.status or ''} {row.note or ''}".rstrip()
            for row in story.attempts
        ],
        "callback": [f"{row.jti} from {row.issuer}: {row.disposition} {row.note}".rstrip() for row in story.callbacks],
        "relay": [
            f"#{row.id} of '{row.event}' to {row.connection}, RESULT_SEQ {row.result_seq or '-'}: "
            f"{row.state} {row.problem or ''}".rstrip()
            for row in story.relays
        ],
    }


def _carries(story: MessageStory, submission: Submission) -> str:
    own = [each for each in story.portions if each.submission_id == submission.id]
    told = ", ".join(
        f"{each.rows.start}-{each.rows.stop - 1}{_AGAIN if each.fate is not None and each.fate.released else ''}"
        for each in own[:_SHOWN_PORTIONS]
    )
    more = f" and {len(own) - _SHOWN_PORTIONS} pieces more" if len(own) > _SHOWN_PORTIONS else ""
    return f"{submission.id} {submission.state} {submission.transaction_id or '-'}: rows {told}{more}"


def _story(story: MessageStory) -> dict[str, object]:
    return {
        **_summary(story.message),
        "content": story.message.content.decode(),
        "raw": story.raw.hex(),
        "revision": story.revision,
        "timeline": [
            {"at": row.at, "event": row.event, "actor": row.actor, "from": row.from_state, "to": row.to_state}
            for row in story.audit
        ],
        "submissions": [
            {
                "id": submission.id,
                "state": submission.state,
                "transactionId": submission.transaction_id,
                "rows": [
                    {"first": each.rows.start, "count": len(each.rows), "offset": each.offset, "fate": each.fate}
                    for each in story.portions
                    if each.submission_id == submission.id
                ],
            }
            for submission in story.submissions
        ],
        "attempts": [
            {
                "submission": row.submission_id,
                "number": row.number,
                "jti": row.jti,
                "keyId": row.key_id,
                "signature": row.signature,
                "outcome": row.outcome,
                "status": row.status,
            }
            for row in story.attempts
        ],
        "bodies": {submission.id: submission.body.decode() for submission in story.submissions},
        "callbacks": [
            {"jti": row.jti, "disposition": row.disposition, "body": row.body.decode(), "signature": row.signature}
            for row in story.callbacks
        ],
        "relays": [
            {"event": row.event, "connection": row.connection, "result": row.result_seq, "state": row.state}
            for row in story.relays
        ],
    }


def _summary(message: Message) -> dict[str, object]:
    return {
        "id": message.id,
        "lane": str(message.lane),
        "kind": message.kind,
        "state": message.state,
        "rows": message.rows,
        "intakeKey": message.intake_key,
        "transactionId": message.transaction_id,
        "problems": [_problem(problem) for problem in message.problems],
        "warnings": [_problem(warning) for warning in message.warnings],
        "created": [{"ref": c.ref, "smpId": c.smp_id} for c in message.created],
        "hops": {hop.value: message.hops[hop] for hop in Hop if hop in message.hops},
    }


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "row": problem.row,
        "ref": problem.ref,
        "field": problem.field,
        "code": problem.code,
        "message": problem.message,
    }


def _time(at: int, form: str) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime(form)
