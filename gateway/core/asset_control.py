"""What operators ask about assets that files name: adopting those made long ago, and importing new ones.

The rules are those of `core.control`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.core.control import Answer, Line, Nothing, Operation, Order
from gateway.core.transaction import State


# ---------------------------------------------------------------- assets made long ago
class OldAsset(Order):
    """An asset that exists at the SMP; ``line`` is where the participant's file tells of it."""

    line: int
    name: Line
    smp_id: Line | None = None
    gsp_group: Line | None = None


class AdoptOrder(Order):
    """Which assets a participant of this environment has had before, and the file that says so."""

    environment: Literal["live", "test"]
    source: Line
    assets: tuple[OldAsset, ...] = Field(min_length=1, max_length=50_000)


class AdoptionFault(Answer):
    """What a line says that contradicts what is known."""

    line: int
    detail: str


class Adopted(Answer):
    """How many assets are new, and which messages went on with them; with ``faults`` nothing was kept."""

    new: int
    known: int
    moved: tuple[str, ...] = ()
    faults: tuple[AdoptionFault, ...] = ()


ADOPT = Operation(method="POST", path="/v1/participants/{participant}/assets", order=AdoptOrder, answer=Adopted)


# ---------------------------------------------------------------- files of assets
class BatchOrder(Order):
    """One batch of a file: ``content`` is the JSON text of a list of assets, whose numbers stay exact in it."""

    content: Annotated[str, StringConstraints(min_length=2)]
    file: Line
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    first_line: int = Field(ge=1)
    last_line: int = Field(ge=1)


class BatchStanding(Answer):
    """Where one batch is; ``existed`` when it was there before this call."""

    batch: int
    message: str
    state: State
    rows: int
    existed: bool


class ImportStanding(Answer):
    """The batches of an import that are there."""

    batches: tuple[BatchStanding, ...]


class RowProblem(Answer):
    """What is wrong with a row of a batch, or (without ``row``) with all of it."""

    row: int | None
    field: str | None
    code: str
    message: str


class CreatedRow(Answer):
    """An asset that exists at the SMP now."""

    ref: str
    smp_id: str


class BatchReport(Answer):
    """What became of the rows of a batch."""

    message: str
    state: State
    rows: int
    problems: tuple[RowProblem, ...]
    created: tuple[CreatedRow, ...]


_IMPORT_PATH = "/v1/participants/{participant}/imports/{import_id}"
# An import's id is its content's (core.imports); ``batches`` is how many it has.
IMPORT = Operation(method="GET", path=_IMPORT_PATH + "/of/{batches}", order=Nothing, answer=ImportStanding)
TAKE_BATCH = Operation(method="POST", path=_IMPORT_PATH + "/batches/{batch}", order=BatchOrder, answer=BatchStanding)
IMPORT_BATCH = Operation(method="GET", path=_IMPORT_PATH + "/batches/{batch}", order=Nothing, answer=BatchReport)
