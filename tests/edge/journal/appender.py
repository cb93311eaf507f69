"""Appends messages to a journal until it is killed, and says each id once its commit was reported."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.contracts.journal.scenario import draft, outgoing, sqlite


async def main(folder: Path) -> None:
    async with sqlite(folder).open() as journal:
        for sequence in range(1, 100_000):
            appended = await journal.append(draft(sequence), outgoing(f"s{sequence}"))
            sys.stdout.write(f"{appended.message_id}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
