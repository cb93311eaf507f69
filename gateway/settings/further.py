"""A message of a further kind that the wire profile declares: what its YAML says, and whether it can ever be sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from gateway.core import validation
from gateway.core.mapping import MessageSpec, compose
from gateway.core.profile import Profile
from gateway.settings.document import Path
from gateway.settings.part import Part
from gateway.settings.quantities import Duration, Text
from gateway.settings.template import depends, path_of
from gateway.settings.when import When


class FurtherMessage(Part):
    """One message of a further kind that the site can ask for."""

    unbuilt: ClassVar = {"salvage": "salvage is for kind: assets"}
    kind: Text
    when: When
    not_after: Duration | None = Field(default=None, description="How long after its acceptance it may still be sent")
    content: dict[str, object] = Field(
        description="What the kind's schema in the wire profile describes; each value a constant, {point: NAME}, or "
        "{path: JMESPATH} into JSON that the site sends"
    )


def check_content(spec: MessageSpec, profile: Profile) -> Iterator[tuple[Path, str]]:
    """Yield what the kind's schema says against the constants, each with its path below the message."""
    composed = compose(spec, {})
    open_fields = {(problem.row, problem.field or "") for problem in composed.problems}
    for problem in validation.check(spec.kind, composed.content, profile).problems:
        if not depends(problem.row, problem.field or "", open_fields):
            yield ("content", *path_of(problem.field or "")), problem.message
