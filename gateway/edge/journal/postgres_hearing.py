"""Hearing what other gateways on one database notify: a connection of its own, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import psycopg
from psycopg import sql

from gateway.edge.journal.postgres_connection import Database

_PAUSE_S = 0.5


async def hear(database: Database) -> AsyncGenerator[str, None]:
    """Every payload that is notified from now on; an empty one whenever some may have been missed."""
    while True:
        try:
            connection = await database.listening()
            async with connection:
                found = await connection.execute("SELECT 'smp_gateway_' || md5(current_schema())")
                row = await found.fetchone()
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(str(row and row[0]))))
                yield ""
                async for notice in connection.notifies():
                    yield notice.payload
        except psycopg.Error:
            await asyncio.sleep(_PAUSE_S)  # the writer tells when the database is away
