"""An SMP to practise against, written apart from the gateway: it shares no code with it but `gateway.errors`."""

from gateway.simulator.courier import Redelivery
from gateway.simulator.faults import CUT, Faults
from gateway.simulator.ledger import Ledger
from gateway.simulator.participants import Participant
from gateway.simulator.smp import SimulatedSmp

__all__ = ["CUT", "Faults", "Ledger", "Participant", "Redelivery", "SimulatedSmp"]
