"""What the YAML may say of an OPC UA connection and its nodes, and how its mistakes are told."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

import adapters.opcua
from adapters.opcua.addresses import parse_browse_path, parse_node
from adapters.opcua.config import OpcuaConnection, OpcuaPoint, OpcuaTrigger
from adapters.opcua.contradictions import contradictions
from gateway.core.mailbox import MailboxSpec
from gateway.core.point import Access, PointSpec
from gateway.ports import ConnectionConfig

KEYS = {"certificate": "file:c.der", "key": "file:c.pem", "trust": "file:s.der"}


@pytest.mark.parametrize(
    ("node", "namespace", "identifier"),
    [
        ("i=85", 0, 85),
        ("ns=2;s=BESS.SoC", 2, "BESS.SoC"),
        ("ns=2;s=a;s=b=c", 2, "a;s=b=c"),  # whatever follows s= belongs to it
        ("ns=65535;i=4294967295", 65535, 4294967295),
        ("nsu=urn:plant:plc;s=x", "urn:plant:plc", "x"),
        ("ns=3;g=09087e75-8e5e-499b-954f-f2a9603db28a", 3, uuid.UUID("09087e75-8e5e-499b-954f-f2a9603db28a")),
        ("ns=1;b=M/RbKBsRVkePCePcx24oRA==", 1, bytes.fromhex("33f45b281b1156478f09e3dcc76e2844")),
    ],
)
def test_a_node_is_read_as_the_standard_writes_it(node: str, namespace: int | str, identifier: object) -> None:
    """All four kinds of identifier, with and without a namespace; it is shown as it was written."""
    address = parse_node(node)
    assert (address.namespace, address.identifier, str(address)) == (namespace, identifier, node)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("BESS.SoC", "is not a node; write ns=2;s=NAME"),
        (85, "85 is not a node"),
        ("ns=70000;s=x", "namespace 70000 is outside 0..65535"),
        ("ns=-1;s=x", "is not a node"),
        ("ns=2;i=4294967296", "is not a number in 0..4294967295"),
        ("ns=2;i=0x10", "is not a number"),
        ("ns=2;i=1²", "is not a number"),
        ("ns=2;s=", "is not a node"),
        ("ns=2;s=a\nb", "printable"),
        ("ns=2;g=123", "is not a GUID"),
        ("ns=2;b=***", "is not base64"),
        ("ns=2;x=1", "is not a node"),
    ],
)
def test_anything_else_is_no_node(node: object, words: str) -> None:
    """A slip of the pen is told here, not by a node that is never found."""
    with pytest.raises(ValidationError, match=words):
        OpcuaPoint.model_validate({"node": node})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "security"),
        ({"security": "None"}, "security: None protects nothing; write plain:"),
        ({"security": "Basic128Rsa15/Sign"}, "is not one of None, Basic256Sha256/Sign"),
        ({"security": "Basic256Sha256"}, "is not one of None, Basic256Sha256/Sign"),
        ({"security": "Basic256Sha256/Sign"}, "needs certificate, key and trust; missing: certificate, key, trust"),
        ({"security": "Aes256Sha256RsaPss/SignAndEncrypt", **KEYS, "trust": None}, "missing: trust"),
        ({"security": "Basic256Sha256/Sign", **KEYS, "key": "----BEGIN"}, "expected a reference"),
        ({"security": "None", "plain": "lab", "username": "op"}, "username and password belong together"),
        ({"security": "None", "plain": "lab", "user_key": "file:k"}, "user_certificate and user_key belong together"),
        ({"security": "None", "plain": "lab", "endpoint": "http://plant"}, "is not an endpoint; write opc.tcp://"),
        ({"security": "None", "plain": "lab", "endpoint": "opc.tcp://u:p@plant"}, "must not hold a login"),
        ({"security": "None", "plain": "lab", "silence": "100ms"}, "at least twice publish"),
        ({"security": "None", "plain": "lab", "publish": 1}, "is not a duration"),
        ({"security": "None", "plain": "lab", "queue": 0}, "greater than or equal to 1"),
        ({"security": "None", "plain": "lab", "role": "master"}, "Input should be 'client' or 'server'"),
        ({"security": "None", "plain": "lab", "role": "server"}, "role: server needs listen"),
        ({"security": "None", "plain": "lab", "listen": "0.0.0.0:4840"}, "listen means nothing with role: client"),
        ({"security": "None", "plain": "lab", "timout": "1s"}, "Extra inputs are not permitted"),
    ],
)
def test_connections_say_what_is_wrong(members: dict[str, object], words: str) -> None:
    """Security is always chosen, and what it needs is all there."""
    with pytest.raises(ValidationError, match=words):
        OpcuaConnection.model_validate({"endpoint": "opc.tcp://10.20.1.6:4840", **members})


def test_a_password_over_an_open_link_needs_a_reason_even_here() -> None:
    """On this machine a link may be open, but a password on it is still for everybody to read."""
    members = {"endpoint": "opc.tcp://localhost", "security": "None", "username": "op", "password": "env:P"}
    with pytest.raises(ValidationError, match="open to everybody on the wire"):
        OpcuaConnection.model_validate(members)
    assert OpcuaConnection.model_validate({**members, "plain": "loopback only"}).username == "op"


def test_reading_a_configuration_imports_no_library() -> None:
    """asyncua takes a second to import, which `--help` and `check` must not cost."""
    code = "import sys, adapters.opcua; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert adapters.opcua.spec.mailbox_layouts == {"points"}


def _told(
    settings: Mapping[str, object], points: Mapping[str, Mapping[str, object]], *, box: bool = False
) -> dict[str, str]:
    """What is said of points, a message `battery` and a mailbox `plc` on a connection, by their place."""
    connection = ConnectionConfig(
        site="s",
        name="ems",
        settings=OpcuaConnection.model_validate({"security": "None", **settings}),
        points={
            name: (PointSpec(name=name, connection="ems"), OpcuaPoint.model_validate(members))
            for name, members in points.items()
        },
        mailboxes={"plc": MailboxSpec(name="plc", connection="ems", results=200)} if box else {},
        triggers={"battery": OpcuaTrigger()},
    )
    assert adapters.opcua.spec.contradictions is not None
    return {".".join(at): said for at, said in adapters.opcua.spec.contradictions(connection)}


def test_a_server_of_ours_says_what_does_not_fit_it() -> None:
    """Every node is ours, has a type and a name of its own; a mailbox belongs to the site's server."""
    listen = {"role": "server", "listen": "127.0.0.1:4840"}
    good = {"node": "ns=2;s=a", "type": "Double"}
    assert _told(listen, {"a": good}) == {}
    told = _told(
        listen,
        {
            "a": {**good, "queue": 5},
            "b": {"node": "ns=2;s=b"},
            "c": {"node": "ns=3;s=c", "type": "Double"},
            "d": {"node": "ns=2;i=4", "type": "Double"},
            "e": {"node": "ns=2;s=SMP.Heartbeat", "type": "Double"},
            "f": good,
        },
        box=True,
    )
    assert list(told) == [
        "points.a.queue",
        "points.b",
        "points.c.node",
        "points.d.node",
        "points.e.node",
        "points.f.node",
        "mailboxes.plc.connection",
    ]
    assert told["points.b"].startswith("a node of our own server needs a type")
    assert told["points.f.node"] == "ns=2;s=a is point a already"


def test_a_client_says_what_belongs_to_a_server() -> None:
    """The site's server knows its types, and sends no messages."""
    told = _told({"endpoint": "opc.tcp://127.0.0.1"}, {"a": {"node": "ns=2;s=a", "type": "Double"}})
    assert list(told) == ["points.a.type", "messages.battery.when.message"]
    assert "use a mailbox, or role: server" in told["messages.battery.when.message"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "security: None protects nothing"),
        ({"listen": "4840"}, "is no address to listen at; write HOST:PORT"),
        ({"listen": "0.0.0.0:70000"}, "is no address to listen at"),
        ({"queue": 5}, "queue means nothing with role: server"),
        ({"endpoint": "opc.tcp://plant"}, "endpoint means nothing with role: server"),
        ({"security": "Basic256Sha256/Sign"}, "needs certificate, key and trust"),
        ({"username": "ems", "plain": "lab"}, "username and password belong together"),
    ],
)
def test_a_server_of_ours_is_protected_or_says_why_not(members: dict[str, object], words: str) -> None:
    """As strict as the client's side; members of the other role are refused, never ignored."""
    with pytest.raises(ValidationError, match=words):
        OpcuaConnection.model_validate({"role": "server", "listen": "0.0.0.0:4840", "security": "None", **members})


Members = Mapping[str, object]


def _told_of(settings: Members, place: Members, trigger: Members, **spec: Any) -> list[str]:  # noqa: ANN401 - of a dataclass
    made = ConnectionConfig(
        site="wight-bess",
        name="scada",
        settings=OpcuaConnection.model_validate({"security": "None", **settings}),
        points={"m": (PointSpec(name="m", connection="scada", **spec), OpcuaPoint.model_validate(place))},
        mailboxes={},
        triggers={"battery": OpcuaTrigger.model_validate(trigger)},
    )
    return [".".join(at) for at, _ in contradictions(made)]


CLIENT: Mapping[str, object] = {"endpoint": "opc.tcp://127.0.0.1"}
SERVER: Mapping[str, object] = {"role": "server", "listen": "127.0.0.1:4840"}
METHOD: Mapping[str, object] = {"object": "ns=2;s=SMP", "method": "ns=2;s=SMP.Verdict"}
EVENT: Mapping[str, object] = {"event": "ns=2;i=1001", "fields": {"mw": "2:Export"}}


def test_a_method_is_written_only_and_holds_no_value() -> None:
    """What is about values is refused where there is none, and a server of ours has no methods of the site."""
    assert _told_of(CLIENT, METHOD, EVENT, access=Access.WRITE) == []
    assert _told_of(CLIENT, METHOD, EVENT) == ["points.m.method"]
    assert _told_of(CLIENT, METHOD, EVENT, access=Access.WRITE, unit="MW", scale=Decimal(2), deadband=Decimal(1)) == [
        "points.m.scale",
        "points.m.unit",
        "points.m.deadband",
    ]
    assert _told_of(SERVER, METHOD, {}, access=Access.WRITE) == ["points.m.method"]


def test_an_event_belongs_to_the_sites_server() -> None:
    """A server of ours is called; a client is told events, and never called."""
    node = {"node": "ns=2;s=m", "type": "Double"}
    assert _told_of(SERVER, node, EVENT) == ["messages.battery.when.event"]
    assert _told_of(CLIENT, {"node": "ns=2;s=m"}, {}) == ["messages.battery.when.message"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "write node: of a variable, or object: and method:"),
        ({"object": "i=1"}, "object and method belong together"),
        ({"node": "i=1", **METHOD}, "write node: of a variable, or object: and method:"),
        ({**METHOD, "queue": 5}, "queue is for variables"),
    ],
)
def test_a_point_is_a_variable_or_a_method(members: dict[str, object], words: str) -> None:
    """One of both, whole."""
    with pytest.raises(ValidationError, match=words):
        OpcuaPoint.model_validate(members)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"fields": {"mw": "2:Export"}}, "fields belongs to event"),
        ({"refresh": True}, "refresh belongs to event"),
        ({"event": "i=2041"}, "event needs fields"),
        ({**EVENT, "id": "ticket"}, "id: ticket is none of fields: mw"),
        ({**EVENT, "fields": {}}, "at least 1 item"),
        ({**EVENT, "fields": {"m w": "Export"}}, "should match pattern"),
        ({**EVENT, "fields": {"mw": "2:"}}, "'2:' is no field"),
        ({**EVENT, "fields": {"mw": "70000:Export"}}, "a namespace is one of 0..65535"),
        ({**EVENT, "fields": {"mw": 5}}, "expected a field of the event"),
        ({**EVENT, "source": "Plant"}, "'Plant' is not a node"),
    ],
)
def test_a_trigger_of_an_event_says_what_is_wrong(members: dict[str, object], words: str) -> None:
    """Type, source and fields, each in the text form of the standard."""
    with pytest.raises(ValidationError, match=words):
        OpcuaTrigger.model_validate(members)


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("Message", ((0, "Message"),)),
        ("2:Unit/2:Export Limit", ((2, "Unit"), (2, "Export Limit"))),
        ("nsu=http://plant/ua/;Export", (("http://plant/ua/", "Export"),)),
    ],
)
def test_the_way_to_a_field(written: str, steps: tuple[tuple[int | str, str], ...]) -> None:
    """Names with their namespaces, by number or by URI."""
    assert parse_browse_path(written) == steps
