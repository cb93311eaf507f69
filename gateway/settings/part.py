"""What every mapping of the YAML has in common.

A member that is designed but not built yet stands in its model's ``unbuilt`` table with what to say about it: such a
member is refused by name and never silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A mapping of the YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    unbuilt: ClassVar[Mapping[str, str]] = {}
