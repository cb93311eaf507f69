"""A CSV file of assets on disk: its lines, its hash, everything that is wrong with it, and its batches; streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gateway.core import imports, sheet
from gateway.core.profile import Profile
from gateway.core.sheet import Fault, Row, Sheet, SheetError

FAULTS_KEPT = 1000
_LONGEST_LINE = 1 << 20  # bytes: no row of assets comes near it
_OTHER_FORMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "a spreadsheet", b"\xd0\xcf": "an old spreadsheet"}
ENCODINGS = ("utf-8", "cp1252")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some rows of the file; ``lines`` says where each stands."""

    number: int
    lines: tuple[int, ...]
    assets: tuple[object, ...]


@dataclass(slots=True)
class Findings:
    """What a check of the whole file found; ``faults`` holds the first thousand."""

    rows: int = 0
    batches: int = 0
    count: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Keep one fault, as far as there is room."""
        self.count += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """One file as it was when its hash was taken."""

    path: Path
    encoding: str
    profile: Profile
    sha256: str
    size: int
    changed_ns: int

    @classmethod
    def open(cls, path: Path, encoding: str, profile: Profile) -> FleetFile:
        """Take the file's hash.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found = path.stat()
        return cls(
            path=path,
            encoding=encoding,
            profile=profile,
            sha256=digest,
            size=found.st_size,
            changed_ns=found.st_mtime_ns,
        )

    def unchanged(self) -> bool:
        """Whether the file still is what the hash was taken of, as far as its size and time tell."""
        found = self.path.stat()
        return (found.st_size, found.st_mtime_ns) == (self.size, self.changed_ns)

    def check(self, seen: Callable[[int], None]) -> Findings:
        """Read and validate everything; ``seen`` is told how many rows more were looked at."""
        findings = Findings()
        try:
            opened = sheet.read(self._lines(), self.profile)
            if isinstance(opened, Sheet):
                self._check_rows(opened, findings, seen)
            else:
                for fault in opened:
                    findings.add(fault)
        except SheetError as error:
            findings.add(error.fault)
        if not findings.count and not findings.rows:
            findings.add(Fault(line=1, message="there is no row below the headings"))
        return findings

    def batches(self) -> Iterator[Batch]:
        """The batches of a file in which nothing was found.

        Raises:
            SheetError: the file was changed meanwhile.
        """
        opened = sheet.read(self._lines(), self.profile)
        if not isinstance(opened, Sheet):
            raise SheetError(opened[0])
        for number, rows in enumerate(self._parts(opened)):
            yield Batch(number=number, lines=tuple(row.line for row in rows), assets=tuple(row.asset for row in rows))

    def _parts(self, opened: Sheet) -> Iterator[list[Row]]:
        rows = iter(opened)
        while part := list(islice(rows, imports.batch_rows(self.profile))):
            yield part

    def _check_rows(self, opened: Sheet, findings: Findings, seen: Callable[[int], None]) -> None:
        headings = {column.field: column.heading for column in opened.columns}
        first: dict[str, int] = {}
        for rows in self._parts(opened):
            faults = [fault for row in rows for fault in row.faults]
            faults += self._repeated(rows, first, headings)
            faults += self._invalid(rows, headings, {(fault.line, fault.heading) for fault in faults})
            for fault in sorted(faults, key=lambda each: each.line):
                findings.add(fault)
            findings.rows += len(rows)
            findings.batches += 1
            seen(len(rows))

    def _repeated(self, rows: Sequence[Row], first: dict[str, int], headings: Mapping[str, str]) -> Iterator[Fault]:
        """The rows whose name stands in an earlier line; ``first`` remembers where each name stood first."""
        ref = self.profile.asset.ref
        for row in rows:
            name = row.asset.get(ref)
            if isinstance(name, str) and first.setdefault(name, row.line) != row.line:
                said = f"{name!r} stands in line {first[name]} already"
                yield Fault(line=row.line, heading=headings.get(ref), message=said)

    def _invalid(
        self, rows: Sequence[Row], headings: Mapping[str, str], unread: AbstractSet[tuple[int, str | None]]
    ) -> Iterator[Fault]:
        """What validation finds in cells that could be read."""
        for problems in imports.check([row.asset for row in rows], self.profile, rows=len(rows)):
            for each in problems:
                line, heading = rows[each.row or 0].line, headings.get(each.field or "", each.field)
                again = each.code == "not_unique" and each.field == self.profile.asset.ref
                if not again and not {(line, heading), (line, None)} & unread:
                    yield Fault(line=line, heading=heading, message=each.message)

    def _lines(self) -> Iterator[str]:
        """The file's lines as text, without a byte order mark.

        Raises:
            SheetError: a line is not in the encoding, or no line at all.
        """
        with self.path.open("rb") as stream:
            number = 0
            while raw := stream.readline(_LONGEST_LINE):
                number += 1
                if number == 1:
                    raw = _begun(raw)
                if len(raw) == _LONGEST_LINE:
                    raise SheetError(Fault(line=number, message="is longer than a megabyte: this is no CSV file"))
                try:
                    yield raw.decode(self.encoding)
                except UnicodeDecodeError as error:
                    raise SheetError(Fault(line=number, message=_undecodable(raw, error))) from None


def _begun(raw: bytes) -> bytes:
    for mark, form in _OTHER_FORMS.items():
        if raw.startswith(mark):
            raise SheetError(Fault(line=1, message=f"this is {form}: save it as 'CSV UTF-8'"))
    return raw.removeprefix(b"\xef\xbb\xbf")


def _undecodable(raw: bytes, error: UnicodeDecodeError) -> str:
    said = f"byte {error.start + 1} ({raw[error.start]:#04x}) is not {error.encoding}"
    if error.encoding != "utf-8":
        return said
    return f"{said}: save the file as 'CSV UTF-8', or say --encoding cp1252 if it comes from an older spreadsheet"
