"""The operators' side: what is asked of a gateway, over its socket or on its journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.control import Answer, AnswerT, Operation, Order, OrderT


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation: who asks (``operator:NAME``, a user of this machine), the path's parameters, the order."""

    actor: str
    parameters: Mapping[str, str]
    order: Order


# Raises ControlRefused for what is not done, and whatever the journal raises.
OperationHandler = Callable[[Call], Awaitable[Answer]]
OperationHandlers = Mapping[Operation[Any, Any], OperationHandler]


class Control(Protocol):
    """The way to a gateway's operations: over the socket of one that runs, or on the journal itself when none does."""

    async def ask(self, operation: Operation[OrderT, AnswerT], order: OrderT, **parameters: str) -> AnswerT:
        """Ask for one operation; cancelling leaves it unknown whether it was done.

        Raises:
            ControlRefused: it was not done.
            ControlUnreachable: the gateway went away; whether it was done is unknown.
            JournalError: the journal, where none runs.
        """
