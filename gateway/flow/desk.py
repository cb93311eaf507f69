"""Where operations are asked for without a socket between: the command line's own process, when no gateway runs."""

from __future__ import annotations

from gateway.core.control import AnswerT, Operation, OrderT
from gateway.errors import ControlRefused
from gateway.ports import Call, OperationHandlers


class Desk:
    """ports.Control on handlers of this process; ``actor`` stands in the audit."""

    def __init__(self, handlers: OperationHandlers, actor: str) -> None:
        self._handlers = handlers
        self._actor = actor

    async def ask(self, operation: Operation[OrderT, AnswerT], order: OrderT, **parameters: str) -> AnswerT:
        """See `ports.Control`."""
        handler = self._handlers.get(operation)
        if handler is None:
            raise ControlRefused("needs_gateway", "this needs a running gateway", advice="start it: smp-gateway run")
        answer = await handler(Call(actor=self._actor, parameters=parameters, order=order))
        if not isinstance(answer, operation.answer):
            raise TypeError(f"{operation.path} was answered with {type(answer).__name__}")
        return answer
