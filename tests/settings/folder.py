from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import adapters.modbus
import adapters.mqtt
import adapters.opcua
from gateway.errors import ConfigError, ConfigProblem
from gateway.settings.configuration import Configuration, load


@dataclass(frozen=True)
class Folder:
    """A copy of the example configuration that a test may edit."""

    path: Path

    def edit(self, file: str, old: str, new: str) -> tuple[int, int]:
        """Replace the first ``old``; the answer is line and column of the replacement."""
        text = (self.path / file).read_text("utf-8")
        start = text.index(old)
        (self.path / file).write_text(text.replace(old, new, 1), "utf-8")
        return self.position(file, start)

    def position(self, file: str, offset: int) -> tuple[int, int]:
        before = (self.path / file).read_text("utf-8")[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    def load(self, environ: Mapping[str, str] | None = None, state: Path | None = None) -> Configuration:
        return load(
            self.path / "gateway.yaml",
            adapters={spec.protocol: spec for spec in (adapters.modbus.spec, adapters.mqtt.spec, adapters.opcua.spec)},
            environ=environ or {},
            state=state,
        )

    def problems(self, environ: Mapping[str, str] | None = None) -> list[ConfigProblem]:
        """Everything said about it, warnings of a usable configuration included."""
        try:
            return list(self.load(environ).warnings)
        except ConfigError as error:
            return list(error.problems)

    def told(self, environ: Mapping[str, str] | None = None) -> list[str]:
        """The same as lines, with file names relative to the folder."""
        return [str(problem).replace(f"{self.path}/", "") for problem in self.problems(environ)]
