"""P2: one message's life, killed at each of its writes, syncs and sends in turn.

A first run under strace lists the calls of each thread; then one run per point is killed there by strace, which counts
per thread: the loop's sends, the writer's writes and syncs, and who comes to its n-th call first is the one that dies.
After each death the journal is opened again, as a restart does, and must know all that was said.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.core.message import Hop
from gateway.core.transaction import TERMINAL, Event, State
from gateway.edge.journal.connection import open_reading
from gateway.edge.journal.examining import examine
from gateway.edge.journal.statements import Reading
from gateway.ports import Journal
from tests.contracts.journal.scenario import SUCCESS, accepted, callback, draft, evidence, outgoing, sqlite
from tests.crash.life import KINDS

ROOT = Path(__file__).parents[2]
CALLS = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate")
_LINE = re.compile(r"^(\d+) +(\w+)\(")


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """The ``n``-th call of this name by any one thread."""

    kind: str
    call: str
    n: int


class Lives:
    """The process that forks the lives, and strace on each."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(self, kind: str, *options: str) -> tuple[Path, list[str]]:
        """Live one life under strace with these options; its folder, and what strace wrote."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        _pipe(self._process.stdin).write(f"{folder} {kind}\n")
        _pipe(self._process.stdin).flush()
        number = int(_pipe(self._process.stdout).readline())
        _stopped(number)
        trace = folder / "trace"
        command = ["strace", "-f", "-o", str(trace), *options, "-p", str(number)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            told = _pipe(strace.stderr).readline()
            if "attached" not in told:
                os.kill(number, signal.SIGKILL)
                raise RuntimeError(f"strace cannot attach: {told}")
            os.kill(number, signal.SIGCONT)
            _pipe(strace.stderr).read()
        return folder, trace.read_text(encoding="utf-8").splitlines()


@contextmanager
def lives() -> Iterator[Lives]:
    """Start what forks the lives; everything of them is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="smp-sweep-") as folder:
        command = [sys.executable, "-m", "tests.crash.life"]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield Lives(process, Path(folder))
            _pipe(process.stdin).close()


def points(here: Lives, kind: str) -> Sequence[Point]:
    """Every point at which a life of this kind can be killed, by a first run that is not."""
    folder, trace = here.run(kind, f"--trace={','.join(CALLS)}")
    if (folder / "said").read_text(encoding="utf-8").splitlines()[-1] != "closed":
        raise RuntimeError(f"the first run of {kind} did not come to its end")
    counts: Counter[tuple[str, str]] = Counter(
        (found[1], found[2]) for line in trace if (found := _LINE.match(line)) and found[2] in CALLS
    )
    longest: dict[str, int] = {}
    for (_, call), count in counts.items():
        longest[call] = max(longest.get(call, 0), count)
    return [Point(kind, call, n) for call, count in sorted(longest.items()) for n in range(1, count + 1)]


def kill_at(here: Lives, point: Point) -> list[str]:
    """Kill a life there, and say what its journal lacks; the reason why it was no kill counts as well."""
    folder, trace = here.run(
        point.kind, f"--trace={point.call}", "-e", f"inject={point.call}:signal=KILL:when={point.n}"
    )
    said = (folder / "said").read_text(encoding="utf-8").splitlines() if (folder / "said").exists() else []
    if not any("killed by SIGKILL" in line for line in trace):
        return [f"{point}: it was not killed"]
    found = [f"{point}: {fault}" for fault in asyncio.run(judge(folder, said))]
    shutil.rmtree(folder)
    return found


async def judge(folder: Path, said: Sequence[str]) -> list[str]:
    """What is wrong with the journal of a life that had said so much; then live it to its end."""
    place, faults = sqlite(folder), []
    async with place.open() as journal:
        message = await journal.message(draft(1).id)
        state = None if message is None else message.state
        faults += [f"{fact!r} was said and {state} is stored" for fact in said if not _holds(fact, state)]
        relay = await journal.next_relay("hams-bess", "plc")
        written = [int(fact.split()[1]) for fact in said if fact.startswith("written")]
        if relay is not None and written and relay[0].result_seq != written[0]:
            faults.append(f"result {written[0]} was written, and {relay[0].result_seq} is due")
        if relay is not None and "read back" in said:
            faults.append("a result that was read back is due again")
        faults += await _finish(journal)
    with closing(open_reading(place.path)) as connection, connection.moment():
        faults += examine(Reading(connection), {})
    return faults


_NEVER: Mapping[str, frozenset[State | None]] = {
    "acknowledged": frozenset({None}),
    "turned": frozenset({None, State.SENDING}),  # posted, and not processed: it may be back where it was
    "posted": frozenset({None, State.ACCEPTED, State.SENDING}),
    "transaction": frozenset({None, State.ACCEPTED, State.SENDING, State.IN_DOUBT}),
    "answered": frozenset({None, *State} - TERMINAL),
    "written": frozenset({None, *State} - TERMINAL),
    "read": frozenset({None, *State} - TERMINAL),
}


def _holds(fact: str, state: State | None) -> bool:
    """Whether what was said may stand beside this state after a restart."""
    return state not in _NEVER.get(fact.split(maxsplit=1)[0], frozenset())


async def _finish(journal: Journal) -> list[str]:
    """Go on as the gateway would, whatever state the message is in; why it does not come to its end."""
    if await journal.message(draft(1).id) is None:
        await journal.append(draft(1), outgoing("s1"))
        await journal.settle("s1", 1, accepted("TX"))
    message = await journal.message(draft(1).id)
    if message is not None and message.state is State.ACCEPTED:
        taken = await journal.take(message.id, outgoing("s1"))
        if taken is None:
            return ["what was accepted cannot be taken"]
        await journal.settle(taken.id, taken.attempt.number, accepted("TX"))
    elif message is not None and message.state is State.IN_DOUBT:
        await journal.resolve(
            "s1", Event.SUCCESS, verdict=SUCCESS, transaction_id="TX", due_at=None, note="asked the SMP"
        )
    message = await journal.message(draft(1).id)
    if message is not None and message.state is State.AWAITING:
        await journal.receive(evidence("c2"), callback("TX"), None)
    while (relay := await journal.next_relay("hams-bess", "plc")) is not None:
        await journal.relayed(relay[0].id, {Hop.READ_BACK: 9})
    message = await journal.message(draft(1).id)
    return [] if message is not None and message.state in TERMINAL else [f"it stays {message}"]


def every_point(here: Lives) -> list[Point]:
    """All points of all kinds."""
    return [point for kind in KINDS for point in points(here, kind)]


def _stopped(number: int) -> None:
    """Wait until the process has stopped itself."""
    while _state(number) != "T":
        os.sched_yield()


def _state(number: int) -> str:
    return Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("started without a pipe")
    return stream
