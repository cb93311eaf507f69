"""Sites to practise against: a plant's server, and a program that calls ours."""

from __future__ import annotations

from adapters.opcua.simulator.ems import OpcuaEms
from adapters.opcua.simulator.plant import URI, OpcuaSite, Result
from adapters.opcua.simulator.program import argument_kinds

__all__ = ["URI", "OpcuaEms", "OpcuaSite", "Result", "argument_kinds"]
