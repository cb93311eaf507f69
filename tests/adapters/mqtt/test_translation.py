"""Payloads to readings and messages: exact numbers, bounded trust, and a sentence for everything else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry, serialize_compact

from adapters.mqtt.config import MqttPoint, MqttTrigger
from adapters.mqtt.translation import (
    NOTHING,
    Arrived,
    asked,
    correlation_of,
    parse_json,
    reading,
    value_payload,
    write_fault,
)
from gateway.core.jwk import KeyRecord
from gateway.core.point import PointSpec, Quality, Reading, Value

LIMIT = 4096
AT = 1_795_000_000_000_000
SPEC = PointSpec(name="p", connection="mqtt", scale=Decimal("0.001"), minimum=Decimal(0), maximum=Decimal(2))
TEXT = PointSpec(name="p", connection="mqtt")
TRIGGER = MqttTrigger.model_validate({"topic": "depot/request", "id": "id"})
TIMED = {"path": "a", "time": "t"}
KEY = generate_private_key(SECP256R1())
RECORD = KeyRecord(key_id="depot-1", algorithm="ES256", key=KEY.public_key(), issuer="depot", purpose="site")


def arrived(
    payload: bytes,
    *,
    topic: str = "depot/request",
    qos: int = 1,
    retained: bool = False,
    response_topic: str | None = None,
    correlation: bytes | None = None,
) -> Arrived:
    return Arrived(
        topic=topic,
        payload=payload,
        qos=qos,
        retained=retained,
        at=AT,
        response_topic=response_topic,
        correlation=correlation,
    )


def read(
    payload: bytes, members: Mapping[str, object] | None = None, spec: PointSpec = TEXT, *, retained: bool = False
) -> Reading:
    place = MqttPoint.model_validate({"topic": "depot/t", **(members or {})})
    return reading(spec, place, arrived(payload, topic="depot/t", retained=retained), parse_json(payload, LIMIT), LIMIT)


@pytest.mark.parametrize(
    ("payload", "members", "value"),
    [
        (b"12.50", {}, Decimal("12.50")),
        (b"-3e2", {}, Decimal(-300)),
        (b"true", {}, True),
        (b"CHP 1", {}, "CHP 1"),
        (b"2000000000200", {"type": "text"}, "2000000000200"),
        (b'{"a": {"b": 0.30}}', {"path": "a.b"}, Decimal("0.30")),
        (b'{"a": "x"}', {"path": "a"}, "x"),
        (b'[{"v": 1}, {"v": 2}]', {"path": "[-1].v"}, Decimal(2)),
    ],
)
def test_values_come_out_as_they_were_sent(payload: bytes, members: dict[str, object], value: Value) -> None:
    """Plain or in JSON; without a type, what they look like."""
    found = read(payload, members)
    assert (found.value, found.quality, found.at) == (value, Quality.GOOD, AT)
    assert str(found.value) == str(value)


def test_numbers_are_scaled_and_bounded_like_those_of_any_protocol() -> None:
    """1200 kW are 1.200 MW, and 2500 kW are refused, not clamped."""
    assert str(read(b"1200", spec=SPEC).value) == "1.200"
    assert read(b"2500", spec=SPEC).fault == "out_of_range"


@pytest.mark.parametrize(
    ("payload", "members", "fault"),
    [
        (b"", {}, "not_available"),
        (b"\xff", {}, "not_text"),
        (b"CHP", {"type": "number"}, "not_a_number"),
        (b"007", {"type": "number"}, "not_a_number"),
        (b"NaN", {"type": "number"}, "not_a_number"),
        (b"9" * 400, {"type": "number"}, "not_a_number"),
        (b"{", {"path": "a"}, "bad_json"),
        (b'{"a": 1, "a": 2}', {"path": "a"}, "bad_json"),
        (b'{"b": 1}', {"path": "a"}, "not_available"),
        (b'{"a": null}', {"path": "a"}, "not_available"),
        (b'{"a": {}}', {"path": "a"}, "not_a_value"),
        (b'{"a": [1]}', {"path": "a"}, "not_a_value"),
        (b'{"a": "1"}', {"path": "a", "type": "number"}, "not_a_number"),
        (b"x" * (LIMIT + 1), {}, "too_long"),
        (b'{"a": 1, "t": "yesterday"}', {"path": "a", "time": "t"}, "no_time"),
    ],
)
def test_what_is_no_value_names_topic_and_reason(payload: bytes, members: dict[str, object], fault: str) -> None:
    """A reading with a fault and a sentence, never an exception."""
    found = read(payload, members)
    assert (found.value, found.fault) == (None, fault)
    assert found.quality is not Quality.GOOD
    assert (found.detail or "").startswith("depot/t: ")


@pytest.mark.parametrize(
    ("stated", "at"),
    [
        ("1794999999", 1_794_999_999_000_000),
        ("1794999999.5", 1_794_999_999_500_000),
        ("1794999999500", 1_794_999_999_500_000),
        ('"2026-11-17T22:26:39Z"', 1_794_954_399_000_000),
        ("9999999999", AT),
    ],
)
def test_a_payload_may_say_when_its_value_was_true(stated: str, at: int) -> None:
    """Seconds, milliseconds or RFC 3339; never later than it came."""
    assert read(b'{"a": 1, "t": %s}' % stated.encode(), TIMED).at == at


def test_a_kept_value_of_unknown_age_is_stale_where_age_matters() -> None:
    """The broker does not say since when; a point without max_age takes it, and so does one with a time of its own."""
    spec = PointSpec(name="p", connection="mqtt", max_age=60_000_000)
    assert read(b"1", spec=spec, retained=True).fault == "stale"
    assert read(b"1", spec=spec).quality is Quality.GOOD
    assert read(b"1", retained=True).quality is Quality.GOOD
    assert read(b'{"a": 1, "t": 1794999999}', TIMED, spec, retained=True).quality is Quality.GOOD


def test_a_message_is_read_with_its_id_and_its_way_back() -> None:
    """`result` takes the place of the topic's last level, unless the YAML names another place."""
    found = asked(TRIGGER, arrived(b'{"id": 7, "name": "C1"}'), LIMIT, None)
    assert (found.key, found.document, found.fault) == ("7", {"id": 7, "name": "C1"}, None)
    assert found.reply == {"id": "7", "topic": "depot/result/7"}
    trigger = MqttTrigger.model_validate({"topic": "depot/+/request", "id": "id", "results": "depot/answers"})
    found = asked(trigger, arrived(b'{"id": "A"}', topic="depot/1/request"), LIMIT, None)
    assert found.reply["topic"] == "depot/answers/A"


def test_a_response_topic_is_used_within_the_same_tree_only() -> None:
    """Whoever may ask must not make us write into another site's topics, or ask ourselves."""
    payload, correlation = b'{"id": "A"}', b"\x00\x01"
    good = asked(TRIGGER, arrived(payload, response_topic="depot/me", correlation=correlation), LIMIT, None)
    assert good.reply == {"id": "A", "topic": "depot/me", "correlation": base64.b64encode(correlation).decode()}
    assert correlation_of(good.reply) == correlation
    for bad in ("other/control", "depot/request", "depot/+", "$SYS/x", "", "depot/" + "x" * 300):
        assert asked(TRIGGER, arrived(payload, response_topic=bad), LIMIT, None).reply["topic"] == "depot/result/A"


@pytest.mark.parametrize(
    ("payload", "qos", "code"),
    [
        (b"{", 1, "bad_json"),
        (b"7", 1, "bad_json"),
        (b"{}", 1, "no_id"),
        (b'{"id": "a/b"}', 1, "no_id"),
        (b'{"id": "A"}', 0, "qos_0"),
        (b"[" * 5000, 1, "too_long"),
        (b'{"id": "A", "id": "B"}', 1, "bad_json"),
    ],
)
def test_what_cannot_be_believed_takes_no_id(payload: bytes, qos: int, code: str) -> None:
    """It is refused by the name of its bytes, and says what is wrong."""
    found = asked(TRIGGER, arrived(payload, qos=qos), LIMIT, None)
    assert (found.key, found.document) == (None, None)
    assert found.fault is not None
    assert found.fault.code == code
    assert found.fault.message.startswith("depot/request: ")
    assert len(found.raw) < LIMIT + 200


def signed(payload: bytes, *, kid: str = "depot-1", aud: str | None = "depot/request") -> bytes:
    key = ECKey.import_key(KEY)
    members = {"alg": "ES256", "kid": kid, **({} if aud is None else {"aud": aud})}
    registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    return serialize_compact(members, payload, key, registry=registry).encode()


def find(key_id: str) -> KeyRecord | None:
    return RECORD if key_id == "depot-1" else None


def test_a_site_may_sign_what_it_sends() -> None:
    """Verified by our code, signed by an independent library, for this topic."""
    found = asked(TRIGGER, arrived(signed(b'{"id": "A"}')), LIMIT, find)
    assert (found.key, found.fault) == ("A", None)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"id": "A"}', "malformed"),
        (signed(b'{"id": "A"}')[:-4] + b"AAAA", "bad_signature"),
        (signed(b'{"id": "A"}', kid="depot-2"), "unknown_key"),
        (signed(b'{"id": "A"}', aud="depot/other"), "audience"),
        (signed(b'{"id": "A"}', aud=None), "audience"),
        (b"\xff.\xff.\xff", "malformed"),
        (signed(b'{"id":'), "bad_json"),
    ],
)
def test_a_site_that_signs_is_not_believed_otherwise(payload: bytes, code: str) -> None:
    """Unsigned, altered, by another key, for another topic, or for whatever topic."""
    found = asked(TRIGGER, arrived(payload), LIMIT, find)
    assert found.key is None
    assert found.fault is not None
    assert found.fault.code == code


def test_written_values_are_whole_payloads() -> None:
    """All digits, no exponent; and what does not fit is refused, not changed."""
    assert value_payload(Decimal("1E+3")) == b"1000"
    assert value_payload(Decimal("0.30")) == b"0.30"
    assert value_payload(value=True) == b"true"
    assert value_payload("done") == b"done"
    place = MqttPoint.model_validate({"topic": "depot/s", "type": "number"})
    assert write_fault(SPEC, place, Decimal(3)) == "3 is outside 0..2"
    assert write_fault(SPEC, place, "3") == "3 is not a number"
    assert write_fault(SPEC, place, Decimal(1)) is None


def _like_json(tree: object) -> bytes:
    return repr(tree).replace("'", '"').replace("None", "null").lower().encode("utf-8", "surrogatepass")


def _like_a_token(data: bytes) -> bytes:
    return b".".join(base64.urlsafe_b64encode(data[start::3]).rstrip(b"=") for start in range(3))


@settings(max_examples=3000)
@given(
    payload=st.one_of(
        st.binary(max_size=300),
        st.text(max_size=100).map(str.encode),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abit."), inner, max_size=3),
        ).map(
            lambda tree: repr(tree).replace("'", '"').replace("None", "null").lower().encode("utf-8", "surrogatepass")
        ),
        st.binary(max_size=80).map(
            lambda b: b".".join(base64.urlsafe_b64encode(b[i::3]).rstrip(b"=") for i in range(3))
        ),
    ),
    path=st.sampled_from(["a", "a.b", "[0]", "a[?b > `1`]", "max(a)", "keys(@)", "to_number(a)"]),
    qos=st.sampled_from([0, 1]),
    verified=st.booleans(),
    response=st.none() | st.text(max_size=20),
)
def test_hostile_bytes_do_no_harm(payload: bytes, path: str, qos: int, response: str | None, *, verified: bool) -> None:
    """P17: whatever arrives, every decoder ends with a value or a sentence."""
    place = MqttPoint.model_validate({"topic": "depot/t", "path": path, "time": "t"})
    document = parse_json(payload, LIMIT)
    for spot in (place, place.model_copy(update={"path": None, "time": None})):
        found = reading(SPEC, spot, arrived(payload, topic="depot/t"), document, LIMIT)
        assert (found.value is None or found.fault == "out_of_range") == (found.quality is not Quality.GOOD)
        assert (found.fault is None) == (found.quality is Quality.GOOD)
    message = asked(TRIGGER, arrived(payload, qos=qos, response_topic=response), LIMIT, find if verified else None)
    assert (message.key is None) == (message.fault is not None)
    assert document is NOTHING or isinstance(document, dict | list | str | int | bool | Decimal | None)
