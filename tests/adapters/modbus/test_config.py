"""What the YAML may say of a Modbus connection, and how its mistakes are told."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from pydantic import ValidationError

import adapters.modbus
from adapters.modbus.config import ModbusConnection, ModbusPoint, PointType, Transport


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"address": "holding:70000", "type": "int16"}, "70000 is outside 0..65535"),
        ({"address": "holding:-1", "type": "int16"}, "-1 is outside 0..65535"),
        ({"address": "holding", "type": "int16"}, "'holding' is not an address; write table:register"),
        ({"address": 1006, "type": "int16"}, "1006 is not an address"),
        ({"address": "register:5", "type": "int16"}, "register is not one of holding, input, coil, discrete"),
        ({"address": "holding:5"}, "type is missing; a holding register can be int16"),
        ({"address": "coil:5", "type": "int16"}, "a coil is a bool, not int16"),
        ({"address": "holding:5", "type": "string"}, "every string needs it"),
        ({"address": "holding:5", "type": "int16", "length": 2}, "length is for strings"),
        ({"address": "holding:65533", "type": "int64"}, "holding:65533 with 4 registers is outside 0..65535"),
        ({"address": "holding:5", "type": "int17"}, "int16"),
        ({"address": "coil:5", "bit": 1}, "bit is for type: bool in a holding or input register"),
        ({"address": "holding:5", "type": "int16", "bit": 1}, "bit is for type: bool"),
        ({"address": "holding:5", "type": "bool", "bit": 16}, "less than 16"),
        (
            {"address": "holding:5", "type": "int16", "scale_factor": "input:7"},
            "scale_factor must be in the same table as the point, holding",
        ),
        (
            {"address": "holding:5", "type": "int16", "scale_factor": "holding:130"},
            "holding:130 is too far from holding:5: both must come in one answer, of at most 125 registers",
        ),
        (
            {"address": "holding:5", "type": "string", "length": 2, "scale_factor": "holding:9"},
            "scale_factor is for numbers, not for string",
        ),
        ({"address": "holding:5", "type": "bcd16", "not_available": "sunspec"}, "SunSpec has no such value for bcd16"),
        ({"address": "holding:5", "type": "int16", "not_available": "0x18000"}, "0x18000 does not fit into the 1 reg"),
        ({"address": "holding:5", "type": "int16", "not_available": "none"}, "'none' is not sunspec, nor the regis"),
        ({"address": "holding:5", "type": "bool", "not_available": 5}, "not_available is for numbers, not for bool"),
        ({"address": "holding:5", "type": "int16", "scail": 1}, "Extra inputs are not permitted"),
    ],
)
def test_points_say_what_is_wrong(members: dict[str, object], words: str) -> None:
    """Place and value are named, so that the YAML's author need not guess."""
    with pytest.raises(ValidationError, match=words):
        ModbusPoint.model_validate(members)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"poll": 1}, "1 is not a duration; write a number and its unit"),
        ({"poll": "0s"}, "'0s' is no time at all"),
        ({"timeout": "1 s"}, "is not a duration"),
        ({"port": 70000}, "less than or equal to 65535"),
        ({"unit": 256}, "less than or equal to 255"),
        ({"transport": "udp"}, "tcp"),
        ({"ca": "file:pki/plant-ca.pem"}, "ca is for transport: tls, and this is tcp"),
        ({"transport": "tls", "key": "file:pki/us.key"}, "certificate and key belong together"),
        ({"plain": ""}, "at least 1 character"),
        ({"max_registers": 126}, "less than or equal to 125"),
        ({"forbidden": ["holding:100"]}, "is no stretch of addresses; write table:first-last"),
        ({"forbidden": ["holding:100-99"]}, "99 is outside 100..65535"),
        ({"tls": {}}, "Extra inputs are not permitted"),
    ],
)
def test_connections_say_what_is_wrong(members: dict[str, object], words: str) -> None:
    """What a later release will do is refused by its name until then."""
    with pytest.raises(ValidationError, match=words):
        ModbusConnection.model_validate({"host": "plc.example", **members})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "role: client needs host"),
        ({"role": "server"}, "role: server needs listen"),
        ({"role": "server", "listen": "0.0.0.0:502"}, "role: server needs allow: the networks from which masters"),
        ({"role": "server", "listen": "0.0.0.0", "allow": ["::1"]}, "'0.0.0.0' is no address to listen at"),
        ({"role": "server", "listen": "[::]:70000", "allow": ["::1"]}, "is no address to listen at"),
        ({"role": "server", "listen": "[::]:502", "allow": ["10.20.1.5/24"]}, "'10.20.1.5/24' is no network"),
        (
            {"role": "server", "listen": "[::]:502", "allow": ["::1"], "transport": "rtu-over-tcp"},
            "role: server speaks tcp or tls, not rtu-over-tcp",
        ),
        (
            {"role": "server", "listen": "[::]:802", "allow": ["::1"], "transport": "tls"},
            "role: server with tls needs certificate and key, and ca: whose certificates masters show",
        ),
        (
            {"role": "server", "listen": "[::]:502", "allow": ["::1"], "names": ["a.example"]},
            "names is for transport: tls, and this is tcp",
        ),
        ({"host": "plc.example", "allow": ["::1"]}, "allow means nothing with role: client"),
    ],
)
def test_each_role_has_its_own_members(members: dict[str, object], words: str) -> None:
    """What the other role needs is refused by its name, never ignored."""
    with pytest.raises(ValidationError, match=re.escape(words)):
        ModbusConnection.model_validate(members)


def test_a_register_map_that_others_reach_needs_a_reason() -> None:
    """Who is let in speaks for the site: on a wire without protection somebody must say why that is fine."""
    members = {"role": "server", "listen": "10.1.1.1:502", "allow": ["10.20.1.0/24"]}
    assert "why these networks may be trusted" in ModbusConnection.model_validate(members).warnings()[0]
    assert ModbusConnection.model_validate({**members, "listen": "127.0.0.1:502"}).warnings() == ()


def test_defaults_are_modbus_own() -> None:
    """Port 502, unit 1, one poll a second, big-endian."""
    connection = ModbusConnection(host="plc.example")
    assert (connection.tcp_port, connection.unit, connection.poll, connection.timeout) == (502, 1, 1_000_000, 1_000_000)
    assert (connection.word_order, connection.byte_order) == ("big", "big")
    point = ModbusPoint.model_validate({"address": "coil:7"})
    assert (point.kind, point.size, str(point.address)) == (PointType.BOOL, 1, "coil:7")


def test_durations_carry_units() -> None:
    """250ms is 250,000 µs."""
    connection = ModbusConnection.model_validate({"host": "plc.example", "poll": "250ms", "timeout": "1.5s"})
    assert (connection.poll, connection.timeout) == (250_000, 1_500_000)


def test_an_unprotected_link_needs_a_reason() -> None:
    """Plain Modbus off this machine is a warning until somebody says why it may be trusted."""
    assert "plain:" in ModbusConnection(host="10.20.1.5").warnings()[0]
    assert ModbusConnection(host="10.20.1.5", plain="own VLAN, locked cabinet").warnings() == ()
    assert ModbusConnection(host="127.0.0.1").warnings() == ()
    assert ModbusConnection(host="10.20.1.5", transport=Transport.TLS).warnings() == ()


def test_models_have_a_schema() -> None:
    """The editor's schema is generated from these models."""
    for model in (adapters.modbus.spec.connection_model, adapters.modbus.spec.point_model):
        assert model.model_json_schema()["additionalProperties"] is False


def test_reading_a_configuration_needs_no_pymodbus() -> None:
    """`check` and `--help` stay quick: the library is imported when an adapter is built."""
    code = "import sys, adapters.modbus; sys.exit('pymodbus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
