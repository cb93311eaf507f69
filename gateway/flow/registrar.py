"""Keeps the assets that participants made before, and lets the units go on that waited for them."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.asset_control import ADOPT, Adopted, AdoptionFault, AdoptOrder
from gateway.core.record import Adoption
from gateway.errors import ControlRefused
from gateway.flow.account import Account
from gateway.flow.elsewhere import SeeTo, everything
from gateway.flow.signals import Signals
from gateway.ports import Call, Journal, OperationHandlers
from gateway.telemetry import Telemetry


class Registrar:
    """Answers core.asset_control.ADOPT; without ``accounts`` no gateway runs: the caller's configuration counts."""

    def __init__(
        self,
        journal: Journal,
        accounts: Mapping[str, Account],
        *,
        signals: Signals,
        telemetry: Telemetry,
        see_to: SeeTo = everything,
    ) -> None:
        self._elsewhere = see_to
        self._journal = journal
        self._accounts = accounts
        self._signals = signals
        self._telemetry = telemetry

    def handlers(self) -> OperationHandlers:
        """What is answered here."""
        return {ADOPT: self.adopt}

    async def adopt(self, call: Call) -> Adopted:
        """Keep all of a file's assets, or none."""
        if not isinstance(call.order, AdoptOrder):
            raise TypeError(call.order)
        order, participant = call.order, call.parameters["participant"]
        self._see_to(participant, order.environment)
        told = [
            Adoption(line=each.line, name=each.name, smp_id=each.smp_id, gsp_group=each.gsp_group)
            for each in order.assets
        ]
        adopted = await self._journal.adopt(
            order.environment, participant, told, actor=call.actor, detail=f"from {order.source}"
        )
        for each in adopted.others:
            self._signals.changed(each)
            lane = each.lane
            self._telemetry.emit(
                "message_moved", site=lane.site, message=lane.message, state=each.state, id=each.message_id
            )
        if adopted.new:
            self._telemetry.emit(
                "operator_acted", act="adopt", actor=call.actor, participant=participant, assets=adopted.new
            )
        return Adopted(
            new=adopted.new,
            known=adopted.known,
            moved=tuple(each.message_id for each in adopted.others),
            faults=tuple(AdoptionFault(line=line, detail=said) for line, said in adopted.faults),
        )

    def _see_to(self, participant: str, environment: str) -> None:
        """See that the gateway serves this participant there.

        Raises:
            ControlRefused: it does not.
        """
        account = self._accounts.get(participant)
        if self._accounts and (account is None or account.identity.environment != environment):
            said = f"the running gateway serves no participant {participant:.64} in {environment}"
            raise ControlRefused("not_found", said, advice="give the configuration that it runs on")
        self._elsewhere(participant)
