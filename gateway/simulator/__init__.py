"""An SMP to practise against, written apart from the gateway: it shares no code with it but `gateway.errors`."""

from gateway.simulator.courier import Redelivery
from gateway.simulator.faults import CUT, HALF, Fault, Faults, Wait
from gateway.simulator.ledger import Ledger
from gateway.simulator.orders import Away
from gateway.simulator.participants import Participant
from gateway.simulator.smp import SimulatedSmp

__all__ = [
    "CUT",
    "HALF",
    "Away",
    "Fault",
    "Faults",
    "Ledger",
    "Participant",
    "Redelivery",
    "SimulatedSmp",
    "Wait",
]
