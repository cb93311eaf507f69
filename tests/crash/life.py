"""One message's life in a process that may be killed at any of its system calls; `sweep.py` does that.

    python -m tests.crash.life

For each line ``FOLDER KIND`` on its input it forks a process that opens the journal in that folder, stops itself until
it is told to go on, and then lives the life of one message, saying each fact to ``FOLDER/said`` as a plant, the SMP or
its callback would hear it: after what must be durable by then.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.core.message import Hop, Submission
from gateway.core.transaction import Event
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    NOT_PROCESSED,
    UNCLEAR,
    accepted,
    attempt,
    callback,
    draft,
    evidence,
    outgoing,
    sqlite,
)

Say = Callable[[str], None]
_SET_PDEATHSIG, _SET_PTRACER, _ANYBODY = 1, 0x59616D61, 2**64 - 1  # linux/prctl.h


async def _submitted(journal: Journal, say: Say, posted: str = "posted 1") -> Submission:
    appended = await journal.append(draft(1), outgoing("s1"))
    say("acknowledged")
    if appended.submission is None:
        raise RuntimeError("a free lane does not send")
    say(posted)
    return appended.submission


async def _ended(journal: Journal, say: Say) -> None:
    await journal.receive(evidence("c1"), callback("TX"), None)
    say("answered 200")
    await _told(journal, say)


async def _told(journal: Journal, say: Say) -> None:
    relay = await journal.next_relay("hams-bess", "plc")
    if relay is None:
        raise RuntimeError("an end owes its site nothing")
    say(f"written {relay[0].result_seq}")
    await journal.relayed(relay[0].id, {Hop.READ_BACK: 9}, written=b"[]")
    say("read back")


async def _assets(journal: Journal, say: Say) -> None:
    """Accepted, sent, answered, called back, written."""
    await _submitted(journal, say)
    await journal.settle("s1", 1, accepted("TX"))
    say("transaction")
    await _ended(journal, say)


async def _refused(journal: Journal, say: Say) -> None:
    """Refused at its intake, and told so."""
    await journal.append(draft(1, problems=(BAD_MPAN,)))
    say("acknowledged")
    await _told(journal, say)


async def _resent(journal: Journal, say: Say) -> None:
    """Not processed, sent again, in doubt, sent once more, called back."""
    await _submitted(journal, say, "turned away 1")
    await journal.settle("s1", 1, NOT_PROCESSED)
    taken = await journal.take(draft(1).id, outgoing("s1"))
    if taken is None:
        raise RuntimeError("what fell back is not taken again")
    say("posted 2")
    await journal.settle("s1", 2, UNCLEAR)
    if await journal.retake("s1", Event.RESENT, attempt("again")) is None:
        raise RuntimeError("a doubt is not sent again")
    say("posted 3")
    await journal.settle("s1", 3, accepted("TX"))
    say("transaction")
    await _ended(journal, say)


KINDS: dict[str, Callable[[Journal, Say], Awaitable[None]]] = {
    "assets": _assets,
    "refused": _refused,
    "resent": _resent,
}


async def _live(folder: Path, kind: str) -> None:
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    async with sqlite(folder).open() as journal:
        os.kill(os.getpid(), signal.SIGSTOP)

        def say(fact: str) -> None:
            os.write(said, f"{fact}\n".encode())

        await KINDS[kind](journal, say)
    os.write(said, b"closed\n")


def main() -> None:
    """Fork one life per line; its process id is printed. No life outlasts this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    system = ctypes.CDLL(None)
    for line in sys.stdin:
        folder, kind = line.split()
        number = os.fork()
        if number == 0:
            system.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            system.prctl(_SET_PTRACER, ctypes.c_ulong(_ANYBODY), 0, 0, 0)
            asyncio.run(_live(Path(folder), kind))
            os._exit(0)
        try:
            print(number, flush=True)  # noqa: T201 - the answer
        except BrokenPipeError:
            return  # nobody asks any more


if __name__ == "__main__":
    main()
