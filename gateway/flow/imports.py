"""Imports: batches of a file's assets on their way into the journal, and how far an import has come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.core import codec, imports, strict_json
from gateway.core.asset_control import (
    IMPORT,
    IMPORT_BATCH,
    TAKE_BATCH,
    BatchOrder,
    BatchReport,
    BatchStanding,
    CreatedRow,
    ImportStanding,
    RowProblem,
)
from gateway.core.imports import Provenance
from gateway.core.message import ASSETS, Draft, Lane, Message, Problem, message_id
from gateway.core.profile import Profile
from gateway.core.record import Appended
from gateway.core.transaction import State
from gateway.errors import ControlRefused, StrictJsonError, SubmissionRefused
from gateway.flow.elsewhere import SeeTo, everything
from gateway.flow.sender import Sender, stored
from gateway.ports import Call, Clock, Journal, OperationHandlers
from gateway.telemetry import Telemetry

_STEP_ROWS = 50  # validated in one go: some 3 ms, in which no other message waits for its turn
_SHOWN = 20  # problems of a batch in one refusal
_MOST_BATCHES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Where a participant's imports go, and the words in which they are judged."""

    environment: str
    profile: Profile


class Imports:
    """Answers the import operations of core.asset_control; without a ``sender`` a later start of the gateway sends."""

    def __init__(
        self,
        journal: Journal,
        tenants: Mapping[str, Tenant],
        *,
        sender: Sender | None,
        clock: Clock,
        telemetry: Telemetry,
        see_to: SeeTo = everything,
    ) -> None:
        self._see_to = see_to
        self._journal = journal
        self._tenants = tenants
        self._sender = sender
        self._clock = clock
        self._telemetry = telemetry

    def handlers(self) -> OperationHandlers:
        """What is answered here."""
        return {IMPORT: self.standing, IMPORT_BATCH: self.report, TAKE_BATCH: self.take}

    # ------------------------------------------------------------ taking batches
    async def take(self, call: Call) -> BatchStanding:
        """Answer core.asset_control.TAKE_BATCH: commit one batch, unless it is there."""
        order = call.order
        if not isinstance(order, BatchOrder):
            raise TypeError(order)
        tenant, lane = self._where(call.parameters)
        number = _number(call.parameters["batch"])
        assets = _assets(order.content, tenant.profile)
        await self._judge(assets, tenant.profile)
        provenance = Provenance(
            file=order.file, sha256=order.sha256, first_line=order.first_line, last_line=order.last_line
        )
        made = imports.draft(lane, number, assets, provenance, at=self._clock.now(), profile=tenant.profile)
        _expressible(made, tenant.profile)
        appended = await self._append(made)
        self._tell(made, appended, call.actor)
        if not appended.same:
            said = f"batch {number} of this import is there already with other rows"
            raise ControlRefused("other_content", said, advice="import the file under its new content as a whole")
        return BatchStanding(
            batch=number,
            message=made.id,
            state=appended.state,
            rows=made.rows,
            existed=appended.existed,
        )

    async def _judge(self, assets: Sequence[object], profile: Profile) -> None:
        """Validate in steps, between which everything else has its turn.

        Raises:
            ControlRefused: a row is wrong; nothing of the batch was taken.
        """
        found: list[Problem] = []
        for problems in imports.check(assets, profile, rows=_STEP_ROWS):
            found.extend(problems)
            await asyncio.sleep(0)
        if found:
            lines = "; ".join(str(each) for each in islice(found, _SHOWN))
            more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
            raise ControlRefused("invalid", f"{lines}{more}", advice="correct the rows; nothing was taken")

    async def _append(self, made: Draft) -> Appended:
        self._see_to(made.lane.participant)
        if self._sender is None:
            return await self._journal.append(made)
        return await stored(self._sender.append(made, None))

    def _tell(self, made: Draft, appended: Appended, actor: str) -> None:
        labels = {"site": made.lane.site, "message": made.lane.label}
        if appended.existed:
            self._telemetry.emit("message_repeated" if appended.same else "message_conflicted", **labels, id=made.id)
            return
        self._telemetry.emit("message_accepted", **labels, id=made.id, rows=made.rows, state=appended.state, by=actor)

    # ------------------------------------------------------------ looking
    async def standing(self, call: Call) -> ImportStanding:
        """Answer core.asset_control.IMPORT: the batches that are there, of the first ``batches`` of them."""
        _, lane = self._where(call.parameters)
        wanted = min(_number(call.parameters["batches"]), _MOST_BATCHES)
        ids = [message_id(lane, imports.intake_key(lane.message, number)) for number in range(wanted)]
        found = await self._journal.standings(ids)
        return ImportStanding(
            batches=tuple(
                BatchStanding(batch=number, message=ident, state=found[ident][0], rows=found[ident][1], existed=True)
                for number, ident in enumerate(ids)
                if ident in found
            )
        )

    async def report(self, call: Call) -> BatchReport:
        """Answer core.asset_control.IMPORT_BATCH: what became of each row of one batch."""
        _, lane = self._where(call.parameters)
        number = _number(call.parameters["batch"])
        message = await self._journal.message(message_id(lane, imports.intake_key(lane.message, number)))
        if message is None:
            raise ControlRefused("not_found", f"there is no batch {number} of this import", advice="import the file")
        return _report(message)

    def _where(self, parameters: Mapping[str, str]) -> tuple[Tenant, Lane]:
        name, ident = parameters["participant"], parameters["import_id"]
        tenant = self._tenants.get(name)
        if tenant is None:
            known = ", ".join(sorted(self._tenants))
            raise ControlRefused("not_found", f"no participant {name:.64}", advice=f"known: {known}")
        if not imports.is_import_id(ident):
            raise ControlRefused("invalid", f"{ident!r:.64} is no import id", advice="use the command line")
        return tenant, imports.lane_of(tenant.environment, name, ident)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:  # a million batches are a thousand million rows
        raise ControlRefused("invalid", f"{text!r:.20} does not count batches", advice="use the command line")
    return int(text)


def _assets(content: str, profile: Profile) -> list[object]:
    """The rows of a batch, numbers exact."""
    try:
        assets = strict_json.loads(content.encode(), limit=profile.limits.request_bytes)
    except (StrictJsonError, UnicodeEncodeError) as error:
        raise ControlRefused("invalid", f"content: {error}", advice="use the command line") from None
    if not isinstance(assets, list) or not 0 < len(assets) <= imports.batch_rows(profile):
        said = f"content: a list of 1 to {imports.batch_rows(profile)} assets is needed"
        raise ControlRefused("invalid", said, advice="use the command line")
    return list(assets)


def _expressible(made: Draft, profile: Profile) -> None:
    """Refuse now what could never be sent; only a batch that comes near the limit is written out to see."""
    if len(made.content) * 2 < profile.limits.request_bytes:
        return
    content = strict_json.loads(made.content, limit=len(made.content))
    try:
        codec.encode_submission(profile, ASSETS, made.id, content if isinstance(content, dict) else {})
    except SubmissionRefused as refused:
        raise ControlRefused("invalid", str(refused), advice="shorten the texts of these rows") from None


def _report(message: Message) -> BatchReport:
    return BatchReport(
        message=message.id,
        state=State(message.state),
        rows=message.rows,
        problems=tuple(
            RowProblem(row=each.row, field=each.field, code=each.code, message=each.message)
            for each in message.problems
        ),
        created=tuple(CreatedRow(ref=each.ref, smp_id=each.smp_id) for each in message.created),
    )
