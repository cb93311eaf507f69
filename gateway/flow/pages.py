"""A site that asks for a page of a result finds it beside the result: whatever page its mailbox asks for is shown.

What was asked is looked at again whenever the mailbox shows something else or got another result, so that nothing has
to be remembered: after a restart of either side the page that is asked for is shown anew, of the result whose number
stands in RESULT_SEQ. Where that number is gone, as in a register map of ours after a restart, its result comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from gateway.core.mailbox import MailboxSpec
from gateway.core.message import Message
from gateway.core.relay import Relay
from gateway.core.result_block import page_writes, result_writes
from gateway.core.transaction import State
from gateway.errors import PointRejected
from gateway.flow.acceptance import Services
from gateway.flow.cancellation import heed
from gateway.ports import MailboxStatus, RoleWrite, Session, Write
from gateway.settings.configuration import SiteConfig


@dataclass(slots=True)
class _Shown:
    """What a mailbox holds since this session wrote it; ``page`` is 0 where that must be written again to be sure."""

    result_seq: int
    relay: Relay | None
    message: Message | None
    page: int
    at: int


class Pages:
    """The pages of one connection's mailboxes, for as long as one session lives.

    Whoever writes something does so inside :meth:`settled`, and says :meth:`wrote` there; ``held`` is told when an old
    result was shown once more: its mailbox and number.
    """

    def __init__(
        self, site: SiteConfig, connection: str, services: Services, *, held: Callable[[str, int], None]
    ) -> None:
        self._writing = asyncio.Lock()
        self._site = site.site
        self._connection = connection
        self._services = services
        self._held = held
        self._boxes = {
            box.name: box for box in site.mailboxes.values() if box.connection == connection and box.pages is not None
        }
        self._status: dict[str, MailboxStatus] = {}
        self._shown: dict[str, _Shown] = {}
        self._stirred = asyncio.Event()

    def settled(self, relay: Relay) -> AbstractAsyncContextManager[None]:
        """Let no page come in between while this is written, if it is a mailbox's result."""
        return nullcontext() if relay.rule.mailbox is None else self._result(relay)

    @asynccontextmanager
    async def _result(self, relay: Relay) -> AsyncIterator[None]:
        async with self._writing:
            if relay.event is not State.AWAITING:  # nobody knows what the mailbox holds until it was written
                self._shown.pop(relay.rule.mailbox or "", None)
            yield

    @property
    def wanted(self) -> bool:
        """Whether any mailbox here may ask for pages."""
        return bool(self._boxes)

    def observe(self, status: MailboxStatus) -> None:
        """Learn what a mailbox asks for; one that asks for nothing, or lost its memory, is shown its next page anew."""
        self._status[status.mailbox] = status
        shown = self._shown.get(status.mailbox)
        if shown is not None and not status.page:
            shown.page = 0
        if shown is not None and shown.result_seq and not status.result_seq and status.at > shown.at:
            del self._shown[status.mailbox]
        self._stirred.set()

    def wrote(self, relay: Relay, message: Message) -> None:
        """Learn that this result stands in its mailbox now, with its first page."""
        box = relay.rule.mailbox
        if box in self._boxes and relay.event is not State.AWAITING and relay.result_seq is not None:
            now = self._services.clock.now()
            self._shown[box] = _Shown(result_seq=relay.result_seq, relay=relay, message=message, page=1, at=now)
            self._stirred.set()

    async def run(self, session: Session) -> None:
        """Show what is asked for until cancelled; raises LinkLost when the session ends."""
        while True:
            self._stirred.clear()
            for box in self._boxes.values():
                async with self._writing:
                    await self._serve(session, box)
                heed()
            await self._stirred.wait()

    async def _serve(self, session: Session, box: MailboxSpec) -> None:
        status, shown = self._status.get(box.name), self._shown.get(box.name)
        if status is None or not status.page or (shown is not None and shown.page == status.page):
            return
        again = False
        if shown is None:
            shown, again = await self._find(box, status.result_seq)
        steps = page_writes(box, shown.message, status.page)
        if again and shown.relay is not None and shown.message is not None:
            steps = [*result_writes(box, shown.relay, shown.message), *steps]
        writes: list[Write] = [RoleWrite(mailbox=box.name, role=r, value=value, passing=True) for r, value in steps]
        try:
            await session.write(writes)
        except PointRejected as rejected:
            self._services.telemetry.emit("relay_refused", site=self._site, mailbox=box.name, reason=str(rejected))
        else:
            if again:
                self._held(box.name, shown.result_seq)
        shown.page, shown.at = status.page, self._services.clock.now()
        self._shown[box.name] = shown

    async def _find(self, box: MailboxSpec, result_seq: int) -> tuple[_Shown, bool]:
        """The result that the mailbox shows by its number, and whether it must be written again to be there."""
        found = await self._services.journal.result(self._site, self._connection, box.name, result_seq)
        if found is None:
            return _Shown(result_seq=result_seq, relay=None, message=None, page=0, at=0), False
        relay, message = found
        return _Shown(result_seq=relay.result_seq or 0, relay=relay, message=message, page=0, at=0), result_seq == 0
