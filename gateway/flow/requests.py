"""Messages that are made on request: a program or an operator names the site and the message, over the control API."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.control import REQUEST, Requested, RequestOrder
from gateway.core.intake import caller_key
from gateway.errors import ControlRefused
from gateway.flow.site import SiteRuntime
from gateway.ports import Call, OperationHandlers


class Requests:
    """Answers core.control.REQUEST for the sites that run here."""

    def __init__(self, sites: Mapping[str, SiteRuntime]) -> None:
        self._sites = sites

    def handlers(self) -> OperationHandlers:
        """What is answered here."""
        return {REQUEST: self.request}

    async def request(self, call: Call) -> Requested:
        """Make the message, or find the one that was made under this key, whatever the site's readings are now.

        Raises:
            ControlRefused: there is no such site, or it has no such message on request.
        """
        if not isinstance(call.order, RequestOrder):
            raise TypeError(call.order)
        site = self._sites.get(call.parameters["site"])
        if site is None:
            said = f"no site {call.parameters['site']:.64} runs here"
            raise ControlRefused("not_found", said, advice="`smp-gateway nodes` shows which gateway runs it")
        try:
            appended = await site.request(call.parameters["message"], caller_key(call.order.key))
        except LookupError as error:
            advice = "write `when: {request: true}` at the message in the site's file"
            raise ControlRefused("not_found", str(error), advice=advice) from None
        return Requested(
            message=appended.message_id,
            state=appended.state,
            existed=appended.existed,
            problems=tuple(str(problem) for problem in appended.problems),
        )
