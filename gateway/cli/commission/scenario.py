"""What a commissioning test tries: a YAML file of steps, read with the line and column of every mistake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from gateway.core.mapping import AlignedName, MessageSpec, RequestTrigger, compile_template
from gateway.core.message import ASSETS, UNIT
from gateway.errors import ConfigError, ConfigProblem
from gateway.settings import document
from gateway.settings.document import Document
from gateway.settings.explain import validate
from gateway.settings.part import Part
from gateway.settings.quantities import Line
from gateway.simulator.faults import Fault, Wait
from gateway.simulator.orders import BadOrder, read_faults

SCENARIO_FILE = "commissioning.yaml"


class Expect(Part):
    """What must come of a step; what is left out is not looked at."""

    state: Literal["completed", "failed", "rejected", "refused"]
    error: Line | None = None
    by: Literal["callback", "status"] | None = None
    forgeries: int = Field(default=0, ge=0)
    replays: int = Field(default=0, ge=0)
    doubts: bool = False


class Step(Part):
    """One thing that is tried: a login, or a message of one kind with its content."""

    name: Line
    login: Literal["granted"] | None = None
    assets: list[dict[str, object]] | None = Field(default=None, min_length=1)
    unit: dict[str, object] | None = None
    aligned: list[Line] = Field(default_factory=list)
    smp: dict[str, object] = Field(default_factory=dict)
    expect: Expect | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(each is not None for each in (self.login, self.assets, self.unit)) != 1:
            raise ValueError("a step is one of login:, assets: and unit:")
        if (self.login is None) != (self.expect is not None):
            raise ValueError("expect: {state: ...} belongs to assets and unit, and only there")
        if bool(self.aligned) != (self.unit is not None):
            raise ValueError("aligned: [NAME, ...] belongs to a unit, and every unit aligns assets")
        return self

    def message(self, name: str) -> MessageSpec:
        """The message of this step, made on request."""
        content: dict[str, object] = {ASSETS: self.assets} if self.assets is not None else {UNIT: self.unit}
        return MessageSpec(
            name=name,
            kind=ASSETS if self.assets is not None else UNIT,
            trigger=RequestTrigger(),
            template=compile_template(content),
            aligned=tuple(AlignedName(name=each) for each in self.aligned),
        )

    @property
    def faults(self) -> Mapping[Fault | Wait, float]:
        """What the simulated SMP does to this step."""
        return read_faults(self.smp).settings


class _Scenario(Part):
    steps: list[Step] = Field(min_length=1)


def read_scenario(path: Path, *, run: str, environ: Mapping[str, str]) -> tuple[Step, ...]:
    """Read a scenario file; ``${RUN}`` in it is replaced by ``run``.

    Raises:
        ConfigError: everything that is wrong with it.
        OSError: it cannot be read.
    """
    read = document.read(path.read_bytes(), file=str(path), environ={**environ, "RUN": run})
    scenario, problems = validate(_Scenario, read.tree, read)
    steps = scenario.steps if scenario is not None else []
    faults = [problem for number, step in enumerate(steps) for problem in _faults(step, number, read)]
    found = [*read.problems, *problems, *faults]
    if found:
        raise ConfigError(found)
    return tuple(steps)


def _faults(step: Step, number: int, read: Document) -> list[ConfigProblem]:
    try:
        read_faults(step.smp)
    except BadOrder as bad:
        return [read.problem(("steps", number, "smp"), sentence) for sentence in bad.problems]
    return []
