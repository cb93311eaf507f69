"""Orphan callbacks shown beside the one doubt that they may belong to; they decide nothing (core/suggestion.py)."""

from __future__ import annotations

from collections import defaultdict

from gateway.core.message import Lane
from gateway.core.suggestion import choose, names_of
from gateway.edge.journal import attesting, rows
from gateway.edge.journal.statements import Commit


def suggest(commit: Commit, environment: str, participant: str, *, jti: str | None = None) -> None:
    """Look at a participant's orphans that stand beside nothing yet, or at one of them only."""
    whose = {"environment": environment, "participant": participant}
    orphans = commit.all("loose_orphans", **whose, jti=jti)
    if not orphans:
        return
    doubts: dict[str, set[str]] = defaultdict(set)
    where: dict[str, tuple[str, str]] = {}  # submission -> its first message and lane
    for submission_id, message_id, lane, kind, content, first_row, row_count in commit.all("open_doubts", **whose):
        doubts[submission_id].update(names_of(kind, content)[first_row : first_row + row_count])
        where.setdefault(submission_id, (message_id, lane))
    for issuer, ident, transaction_id, verdict in orphans:
        chosen = choose(rows.load_verdict(verdict), doubts)
        if chosen is None:
            continue
        message_id, lane = where[chosen]
        note = f"may be of this submission: transaction {transaction_id} speaks of the same names; people decide"
        commit.run(
            "suggest_callback",
            environment=environment,
            issuer=issuer,
            jti=ident,
            note=note,
            submission_id=chosen,
            message_id=message_id,
        )
        attesting.audit(
            commit,
            Lane.parse(lane),
            message_id,
            "callback_suggested",
            submission_id=chosen,
            detail=f"callback {ident} {note}",
        )
