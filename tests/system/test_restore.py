"""Restoring a backup that was taken under load: every message is accounted for, and none goes out twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from gateway.app import back_up, open_control
from gateway.core.acts import Act
from gateway.core.control import ACT, ActOrder
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from tests.system.commands import smp_gateway
from tests.system.rig import World, world


async def _command(here: World, *words: str) -> str:
    code, out, err = await smp_gateway("journal", *words, "--state", str(here.state), environ=here.environ)
    assert code == 0, err
    return out


async def test_a_backup_taken_under_load_is_restored_with_every_message_accounted_for(tmp_path: Path) -> None:
    """On its way: as the SMP has it. Maybe gone unseen: people decide. After the backup: the plant's alarm tells."""
    yaml, backup = str(tmp_path / "config" / "gateway.yaml"), tmp_path / "backup.db"
    async with world(tmp_path) as here:
        hams, solent = here.plants["hams-bess"], here.plants["solent-bess"]
        async with here.gateway() as running:
            await hams.result(await here.ask("hams-bess", "HAMS 1"))
            here.smp.faults.hold_callbacks()
            await here.ask("trent-chp", "TRENT 1")
            await running.reaches("trent-chp", State.AWAITING)
            here.front.gate.clear()
            await solent.acknowledged(await here.ask("solent-bess", "SOLENT 1"))
            await running.reaches("solent-bess", State.SENDING)
            await solent.acknowledged(await here.ask("solent-bess", "SOLENT 2"))
            await asyncio.to_thread(back_up, here.state / "state" / "journal.db", backup)
            here.front.gate.set()
            here.smp.faults.release_callbacks()
            for number in (0, 1):
                await running.reaches("solent-bess", State.COMPLETED, number=number)
            await running.reaches("trent-chp", State.COMPLETED)
            await here.plants["trent-chp"].acknowledged(await here.ask("trent-chp", "TRENT 2"))
            await running.reaches("trent-chp", State.COMPLETED, number=1)
        names = ["HAMS 1", "SOLENT 1", "SOLENT 2", "TRENT 1", "TRENT 2"]
        assert Counter(here.effects()) == Counter(names)
        told = await _command(here, "restore", yaml, str(backup))
        assert "1 submissions are in doubt" in told
        assert "1 messages may have gone since and are parked" in told
        async with here.gateway() as running, open_control(here.configuration) as control:
            await running.reaches("trent-chp", State.COMPLETED)
            await running.reaches("solent-bess", State.COMPLETED)
            parked = await running.reaches("solent-bess", State.PARKED, number=1)
            assert "SOLENT 2" in here.effects()
            order = ActOrder(act=Act.REFUSE, reason="compared with the SMP, which has it")
            await control.ask(ACT, order, message=parked.id)
            await running.reaches("solent-bess", State.REFUSED, number=1)
            assert here.events("mailbox_alarmed", site="trent-chp", code="journal_older")
            again = await here.ask("trent-chp", "TRENT 3")
            assert (await here.plants["trent-chp"].result(again)).state == state_code(State.COMPLETED)
        assert Counter(here.effects()) == Counter([*names, "TRENT 3"])
        assert "sound" in await _command(here, "check", yaml)


async def test_a_damaged_backup_replaces_nothing(tmp_path: Path) -> None:
    """A backup whose bytes or audit were changed is refused with what is wrong, and the journal stays."""
    yaml, backup = str(tmp_path / "config" / "gateway.yaml"), tmp_path / "backup.db"
    async with world(tmp_path) as here:
        async with here.gateway():
            await here.plants["hams-bess"].result(await here.ask("hams-bess", "HAMS 1"))
        await _command(here, "backup", yaml, str(backup))
        path = here.state / "state" / "journal.db"
        before = path.read_bytes()
        backup.write_bytes(backup.read_bytes().replace(b"HAMS 1", b"HAMS 2"))
        code, _, err = await smp_gateway(
            "journal", "restore", yaml, str(backup), "--state", str(here.state), environ=here.environ
        )
        assert code == 1
        assert "what is kept of it is not what was attested" in err
        assert path.read_bytes() == before
