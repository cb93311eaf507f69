"""What could be read of a site file, and what is wrong with it: the slate that reading and cross-checking share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from gateway.core.mailbox import MailboxSpec
from gateway.core.mapping import MessageSpec
from gateway.core.places import Array
from gateway.core.point import PointSpec
from gateway.core.safety import Limits
from gateway.errors import ConfigProblem
from gateway.ports import AdapterSpec
from gateway.settings import models
from gateway.settings.document import Document, Path, dotted
from gateway.settings.explain import Model, validate
from gateway.settings.part import Part


@dataclass(slots=True)
class SiteParts:
    """What could be read of a site file; the checks work on whatever is there."""

    document: Document
    protocols: dict[str, AdapterSpec] = field(default_factory=dict)
    links: dict[str, BaseModel] = field(default_factory=dict)
    points: dict[str, PointSpec] = field(default_factory=dict)
    head: models.SiteFile | None = None
    limits: dict[str, Limits] = field(default_factory=dict)  # what the writes of a point must keep to
    places: dict[str, BaseModel] = field(default_factory=dict)
    mailboxes: dict[str, MailboxSpec] = field(default_factory=dict)
    messages: dict[str, MessageSpec] = field(default_factory=dict)
    triggers: dict[str, BaseModel] = field(default_factory=dict)  # message -> its protocol's own members of `when`
    relays: dict[int, models.Relay] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    origins: dict[str, Path] = field(default_factory=dict)  # point of an array's element -> where it is declared
    problems: list[ConfigProblem] = field(default_factory=list)

    def blame(self, path: Path, message: str, *, key: bool = False, warning: bool = False) -> None:
        """Note a problem; of the points of an array, what is wrong with its elements is told once."""
        if path[0] == "points" and path[1] in self.origins:
            path = (*self.origins[str(path[1])], *path[2:])
            if any(dotted(path) == problem.path for problem in self.problems):
                return
        self.problems.append(self.document.problem(path, message, key=key, warning=warning))

    def names(self, section: str) -> frozenset[str]:
        """The names a section declares, also of parts that could not be read."""
        members = self.document.tree.get(section)
        return frozenset(members) if isinstance(members, Mapping) else frozenset()

    def is_method(self, point: str) -> bool:
        """Whether a point is a method, which is called and holds no value: its protocol's own model says so."""
        return getattr(self.places.get(point), "called", False) is True

    def take(self, model: type[Model], tree: object, path: Path, *, beside: type[Part] | None = None) -> Model | None:
        """Read one part; its faults are noted."""
        value, problems = validate(model, tree, self.document, path, beside=beside)
        self.problems += problems
        return value
