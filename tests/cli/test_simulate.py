"""`smp-gateway simulate site` as a process: what a newcomer sees in the second of three terminals."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.modbus.simulator import ModbusSite
from adapters.mqtt.simulator import Heard, MqttSite
from gateway.cli.simulate.plan import Pause, Show, read_recording, read_story
from gateway.cli.simulate.story import Act, Storyteller
from gateway.core.control import PointList, PointStanding
from gateway.core.mailbox import Role
from gateway.errors import ConfigError
from gateway.settings.example import example_configuration
from tests.crash.processes import Child, child, python
from tests.crash.world import REPOSITORY
from tests.ports import free_ports
from tests.settings.folder import Folder

SOAR = {"SOAR_EV_BROKER": "mqtt://127.0.0.1:1883", "SOAR_EV_MQTT": "3.1.1"}
HAMS = ("simulate", "site", str(example_configuration() / "gateway.yaml"), "hams-bess")


def site(*options: str, listen: str = "127.0.0.1:0") -> list[str]:
    return python(REPOSITORY, *HAMS, "--listen", listen, *options)


def events(process: Child) -> list[str]:
    return [json.loads(line)["event"] for line in process.lines]


async def test_each_typed_line_raises_a_request() -> None:
    """Pins the interactive plant: a word or an empty line asks, the answer says what was raised, SIGTERM ends it."""
    async with child(site()) as plant:
        plant.say("new")
        raised = await plant.until("raised")
        plant.signal(signal.SIGTERM)
        assert await plant.ended() == 0
    assert "sequence 1" in raised
    assert "HAMS-BESS 1" in raised
    assert "unanswered [1]" in plant.lines[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_waits_for_a_gateway_until_it_is_ended(number: signal.Signals) -> None:
    """Pins that a counted story raises its first request at once, and ends cleanly without a gateway."""
    async with child(site("--requests", "2", "--json")) as plant:
        await plant.until("raised")
        plant.signal(number)
        assert await plant.ended() == 0
    assert events(plant) == ["listening", "raised", "ended"]


async def test_its_memory_outlives_it(tmp_path: Path) -> None:
    """Pins that with --memory the next life shows the request of the last one, and asks for the one after it."""
    memory = tmp_path / "plc.json"
    async with child(site("--requests", "1", "--memory", str(memory))) as plant:
        await plant.until("raised")
    assert json.loads(memory.read_text())["1000"] == 1


async def test_a_taken_port_is_told_in_a_line() -> None:
    """Pins exit code 2 without a traceback."""
    (port,) = free_ports(1)
    async with child(site(listen=f"127.0.0.1:{port}")) as first:
        await first.until("listening")
        async with child(site(listen=f"127.0.0.1:{port}")) as second:
            assert await second.ended() == 2
    assert not any("Traceback" in line for line in second.lines)
    assert str(port) in second.lines[-1]


async def test_an_unknown_site_is_wrong_usage() -> None:
    """Pins exit code 2 and the name."""
    async with child(python(REPOSITORY, *HAMS[:3], "nowhere")) as plant:
        assert await plant.ended() == 2
    assert any("nowhere" in line for line in plant.lines)


def test_a_story_is_read(tmp_path: Path) -> None:
    """Pins the four kinds of step of a story file."""
    path = tmp_path / "story.yaml"
    path.write_text(
        "steps:\n  - ask: typo\n  - pause: 50ms\n  - values: {asset_name: MINE, export_limit: 12.5}\n"
        "  - show: {soc: 50}\n"
    )
    act, pause, values, show = read_story(path, environ={})
    assert show == Show(values={"soc": Decimal(50)})
    assert (act, pause) == (Act.TYPO, Pause(seconds=0.05))
    assert isinstance(values, dict)
    assert {name: str(value) for name, value in values.items()} == {"asset_name": "MINE", "export_limit": "12.5"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps:\n  - ask: maybe\n", ":2:"),
        ("steps:\n  - pause: soon\n", ":2:"),
        ("steps:\n  - ask: new\n    pause: 1s\n", ":2:"),
        ("stepps: []\n", ":1:1"),
    ],
)
def test_a_wrong_story_names_its_place(tmp_path: Path, text: str, told: str) -> None:
    """Pins that a mistake in a story is told with its line."""
    path = tmp_path / "story.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_story(path, environ={})
    assert told in str(caught.value)


async def test_again_names_what_was_asked_for_last_without_a_mistake(folder: Folder) -> None:
    """Pins that AGAIN repeats the last good name, also after a mistyped request, and is a NEW before any."""
    configured = folder.load().sites["hams-bess"]
    async with ModbusSite(configured.mailboxes["plc"]) as plant:
        teller = Storyteller(configured, plant)
        asked = []
        for act in (Act.AGAIN, Act.TYPO, Act.AGAIN):
            asked.append(await teller.ask(act))
            plant.set_registers(1200, [plant.role(Role.REQUEST_SEQ)])
    assert [each.act for each in asked] == [Act.NEW, Act.TYPO, Act.AGAIN]
    assert asked[0].name == asked[2].name != asked[1].name


async def test_own_values_are_checked_against_the_points(folder: Folder) -> None:
    """Pins that a story's values must be points of the site, and that a given name is the one told."""
    configured = folder.load().sites["hams-bess"]
    async with ModbusSite(configured.mailboxes["plc"]) as plant:
        teller = Storyteller(configured, plant)
        with pytest.raises(ValueError, match="no point colour"):
            await teller.ask_for({"colour": "red"})
        assert (await teller.ask_for({"asset_name": "MINE"})).name == "MINE"


async def test_a_depot_on_mqtt_tells_its_story_and_reads_the_results(tmp_path: Path) -> None:
    """Pins a story over MQTT: own members, exact numbers, a result told as it was published, and the exit code."""
    (port,) = free_ports(1)
    story = tmp_path / "story.yaml"
    story.write_text("steps:\n  - values: {name: MY BAY, import_kw: 12.50}\n  - ask: again\n")
    arguments = python(
        REPOSITORY, *HAMS[:3], "soar-ev", "--listen", f"127.0.0.1:{port}", "--story", str(story), "--json"
    )
    async with child(arguments, environ=SOAR) as plant:
        await plant.until("listening")
        async with MqttSite.connected("127.0.0.1", port, listen=("soar/smp/request",)) as gateway:
            await gateway.publish("soar/smp/gateway", "online", retain=True)
            _, first = await gateway.hears_below("soar/smp", 0)
            assert first.payload.endswith(b'"chargers":[{"name":"MY BAY","mpan":"1100000000008","import_kw":12.50}]}')
            await answer(gateway, first, "refused")
            _, second = await gateway.hears_below("soar/smp", 1)
            await answer(gateway, second, "completed")
        assert await plant.ended() == 0
    told = [json.loads(line) for line in plant.lines if '"result"' in line]
    assert [(each["state"], each["errors"]) for each in told] == [("refused", 0), ("completed", 0)]


async def answer(gateway: MqttSite, asked: Heard, state: str) -> None:
    ident = asked.json["id"]
    await gateway.publish(f"soar/smp/result/{ident}", {"id": ident, "state": state, "errors": []})


def recording(*lines: Mapping[str, str], every: int = 1_000_000) -> str:
    """What `points SITE --watch --json` prints: a line each second, these points good."""
    told = [
        PointList(
            site="depot",
            at=number * every,
            points=tuple(
                PointStanding(
                    point=point,
                    connection="mqtt",
                    connected=True,
                    access="read",
                    value=value,
                    quality="good",
                    read_at=1,
                )
                for point, value in line.items()
            ),
        )
        for number, line in enumerate(lines)
    ]
    return "".join(f"{each.model_dump_json()}\n" for each in told)


def test_a_recording_is_shown_again_in_its_own_time(tmp_path: Path) -> None:
    """Pins what changed and when, exact numbers, the speed; points that the plant does not set are left out."""
    path = tmp_path / "day.jsonl"
    path.write_text(recording({"soc": "50.0", "state": "7"}, {"soc": "50.0"}, {"soc": "51.5", "mode": "auto"}))
    steps = list(read_recording(path, {"soc", "mode"}, speed=10))
    assert steps == [
        Show(values={"soc": Decimal("50.0")}),
        Pause(seconds=0.1),
        Pause(seconds=0.1),
        Show(values={"soc": Decimal("51.5"), "mode": "auto"}),
    ]
    path.write_text("{}\n")
    with pytest.raises(ValueError, match=r"day\.jsonl:1"):
        list(read_recording(path, {"soc"}, speed=1))


async def test_a_replay_moves_the_plants_own_registers(tmp_path: Path) -> None:
    """Pins a recording against the PLC of a site as a process, and that it ends by itself."""
    path, memory = tmp_path / "day.jsonl", tmp_path / "plc.json"
    path.write_text(recording({"export_limit": "12.5"}, {"export_limit": "13.0"}, every=10_000))
    async with child(site("--replay", str(path), "--memory", str(memory), "--json")) as plant:
        assert await plant.ended() == 0
    shown = [json.loads(line)["export_limit"] for line in plant.lines if '"shown"' in line]
    assert shown == ["12.5", "13.0"]
    assert json.loads(memory.read_text())["1029"] == 130


async def test_a_broker_that_the_site_does_not_speak_to_is_told_in_a_line() -> None:
    """Pins exit code 2 and the version, where the YAML says MQTT 5."""
    async with child(python(REPOSITORY, *HAMS[:3], "soar-ev")) as plant:
        assert await plant.ended() == 2
    assert "3.1.1" in plant.lines[-1]
