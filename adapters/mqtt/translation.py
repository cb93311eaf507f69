"""Payloads to readings and messages, and values and results to payloads. Pure; nothing that a site sends raises."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import orjson

from adapters.mqtt.config import MqttPoint, MqttTrigger
from adapters.mqtt.topics import check_topic, results_beside
from gateway.core import codec, jws, strict_json
from gateway.core.document import Missing, caller_id, digest
from gateway.core.message import Problem
from gateway.core.point import PointSpec, Quality, Reading, Value, number_reading
from gateway.errors import SignatureRefused, StrictJsonError

NOTHING = object()  # in place of a document: the payload is no JSON
_KEPT = 4096  # bytes of a payload that is too long to be read
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_ALGORITHMS = frozenset({"ES256", "PS256", "RS256", "EdDSA"})
_SECOND, _MILLISECOND = 1_000_000, 1_000  # µs
_MILLISECONDS_FROM = 100_000_000_000  # a count beyond this is in ms: in seconds it would be the year 5138
_RESPONSE_TOPIC_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One PUBLISH as it came; ``at`` is µs UTC, the response members are MQTT 5's."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    at: int
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message of the site's own, read as far as it can be believed; with a ``fault`` it cannot."""

    key: str | None
    raw: bytes
    document: object
    reply: Mapping[str, str]
    fault: Problem | None = None


# ---------------------------------------------------------------- readings
def parse_json(payload: bytes, limit: int) -> object:
    """The payload's strict JSON, or :data:`NOTHING`."""
    try:
        return strict_json.loads(payload, limit=limit)
    except StrictJsonError:
        return NOTHING


def reading(spec: PointSpec, place: MqttPoint, arrived: Arrived, document: object, limit: int) -> Reading:
    """What a payload says of one point; ``document`` is :func:`parse_json` of it."""
    value = _value(place, arrived, document, limit)
    if isinstance(value, Missing):
        return bad(spec.name, arrived.at, value.code, f"{arrived.topic}: {value.detail}")
    at = _time(place, arrived, document)
    if at is None:
        said = f"{arrived.topic}: {place.time.text if place.time else ''} is no time"
        return bad(spec.name, arrived.at, "no_time", said)
    if arrived.retained and place.time is None and spec.max_age is not None:
        said = f"{arrived.topic}: kept by the broker since an unknown time, and may be {spec.max_age / _SECOND:g} s old"
        return bad(spec.name, arrived.at, "stale", said)
    if isinstance(value, Decimal):
        return number_reading(spec, value, at)
    return Reading(point=spec.name, value=value, at=at)


def bad(point: str, at: int, fault: str, detail: str) -> Reading:
    """A reading without a value, and why."""
    quality = Quality.NOT_AVAILABLE if fault == "not_available" else Quality.BAD
    return Reading(point=point, value=None, quality=quality, at=at, fault=fault, detail=detail)


def _value(place: MqttPoint, arrived: Arrived, document: object, limit: int) -> Value | Missing:
    if len(arrived.payload) > limit:
        return Missing("too_long", f"{len(arrived.payload)} bytes; {limit} are read")
    if place.path is None:
        return _typed(place, _plain(arrived.payload, place.type))
    if document is NOTHING:
        return Missing("bad_json", "the payload is not JSON that is accepted")
    found = place.path.value(document)
    if isinstance(found, list):
        return Missing("not_a_value", f"{place.path.text} is a list, not a value")
    return found if isinstance(found, Missing) else _typed(place, found)


def _plain(payload: bytes, kind: str | None) -> Value | Missing:
    """A payload that is the value itself; without a type, what it looks like."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return Missing("not_text", "the payload is not UTF-8 text")
    if not text or "\0" in text:
        return Missing("not_available", "the payload is empty" if not text else "the payload holds a NUL")
    if kind in {None, "bool"} and text in {"true", "false"}:
        return text == "true"
    if kind in {None, "number"} and _NUMBER.fullmatch(text):
        return _number(text)
    return text


def _number(text: str) -> Value | Missing:
    """A number within the same bounds as one of JSON."""
    try:
        value = strict_json.loads(text.encode())
    except StrictJsonError:  # 007, or too many digits
        return Missing("not_a_number", f"{text:.40} is not a number that is accepted")
    return Decimal(value) if isinstance(value, int | Decimal) else Missing("not_a_number", f"{text:.40} is no number")


def _typed(place: MqttPoint, value: Value | Missing) -> Value | Missing:
    """The value, if it is of the point's type."""
    if isinstance(value, Missing) or place.type is None:
        return value
    fits = {"number": isinstance(value, Decimal), "text": isinstance(value, str), "bool": isinstance(value, bool)}
    where = "the payload" if place.path is None else place.path.text
    return value if fits[place.type] else Missing(f"not_a_{place.type}", f"{where} is not a {place.type}")


def _time(place: MqttPoint, arrived: Arrived, document: object) -> int | None:
    """When the value was true, never later than it came; None when the payload does not say what it should."""
    if place.time is None:
        return arrived.at
    stated = None if document is NOTHING else place.time.value(document)
    at = None
    if isinstance(stated, Decimal) and 0 <= stated < _MILLISECONDS_FROM * 1000:
        at = int(stated * (_MILLISECOND if stated >= _MILLISECONDS_FROM else _SECOND))
    elif isinstance(stated, str):
        at = _rfc3339(stated)
    return None if at is None else min(at, arrived.at)


def _rfc3339(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else round(moment.timestamp() * _SECOND)
    except (ValueError, OverflowError, OSError):
        return None


# ---------------------------------------------------------------- messages of the site's own
def asked(trigger: MqttTrigger, arrived: Arrived, limit: int, find: jws.Find | None) -> Asked:
    """Read a message; with ``find`` its payload must be a compact JWS by one of the site's keys.

    One that cannot be believed is refused without its id, and its result is labelled with the bytes' own name.
    """
    raw = arrived.payload
    document = _document(arrived, limit, find)
    key = None if trigger.id is None or isinstance(document, Missing) else caller_id(trigger.id.find(document))
    if trigger.id is not None and key is None and not isinstance(document, Missing):
        said = "is missing, or is no id: 1 to 128 visible characters without spaces, /, + and #"
        document = Missing("no_id", f"{trigger.id.text} {said}")
    reply = _reply(trigger, arrived, key or digest(raw))
    if not isinstance(document, Missing):
        return Asked(key=key, raw=raw, document=document, reply=reply)
    if len(raw) > limit:
        raw = raw[:_KEPT] + f" ... {len(raw)} bytes, sha256 {digest(raw)}".encode()
    fault = Problem(code=document.code, message=f"{arrived.topic}: {document.detail}")
    return Asked(key=None, raw=raw, document=None, reply=reply, fault=fault)


def _document(arrived: Arrived, limit: int, find: jws.Find | None) -> object:
    """The message's JSON, an object or a list, or why there is none that could be believed."""
    raw = arrived.payload
    if len(raw) > limit:
        return Missing("too_long", f"{len(raw)} bytes; {limit} are read")
    if arrived.qos == 0:
        return Missing("qos_0", "sent with QoS 0, which may be lost; send it with QoS 1")
    try:
        document = strict_json.loads(raw if find is None else _verified(raw, arrived.topic, find), limit=limit)
    except SignatureRefused as refused:
        return Missing(refused.code, refused.reason)
    except StrictJsonError as error:
        return Missing("bad_json", f"not JSON that is accepted: {error}")
    return document if isinstance(document, dict | list) else Missing("bad_json", "expected an object or a list")


def _verified(raw: bytes, topic: str, find: jws.Find) -> bytes:
    """The payload of a compact JWS whose ``aud`` is the topic: it cannot be carried over to another message's."""
    try:
        token = raw.decode("ascii")
    except UnicodeDecodeError:
        raise SignatureRefused("malformed", "not a compact JWS") from None
    verified = jws.verify_compact(token, find, algorithms=_ALGORITHMS)
    audience = verified.header.get("aud")
    if audience is None:
        raise SignatureRefused("audience", f"the header must name what it is signed for: aud, the topic {topic}")
    if audience != topic:
        raise SignatureRefused("audience", f"signed for {audience!r:.100}, not for {topic}")
    return verified.payload


def _reply(trigger: MqttTrigger, arrived: Arrived, ident: str) -> Mapping[str, str]:
    """Where the result goes: MQTT 5's response topic, below the same first level only, or RESULTS/ID.

    Whoever may publish a request must not be able to make us write wherever we may.
    """
    topic = f"{trigger.results or results_beside(arrived.topic)}/{ident}"
    wanted = arrived.response_topic
    if wanted is not None and _may_answer(arrived.topic, wanted):
        topic = wanted
    correlation = {} if arrived.correlation is None else {"correlation": base64.b64encode(arrived.correlation).decode()}
    return {"id": ident, "topic": topic, **correlation}


def _may_answer(asked_on: str, wanted: str) -> bool:
    try:
        check_topic(wanted)
    except ValueError:
        return False
    same_tree = wanted.split("/", maxsplit=1)[0] == asked_on.split("/", maxsplit=1)[0]
    return same_tree and wanted != asked_on and len(wanted) <= _RESPONSE_TOPIC_LENGTH


# ---------------------------------------------------------------- what we publish
def result_payload(result: Mapping[str, object]) -> bytes:
    """A result as JSON."""
    return codec.dumps(dict(result))


def correlation_of(to: Mapping[str, str]) -> bytes | None:
    """The correlation data that came with the message."""
    text = to.get("correlation")
    return None if text is None else base64.b64decode(text)


def value_payload(value: Value) -> bytes:
    """A value as the whole payload: a number with all its digits, true or false, or the text itself."""
    if isinstance(value, str):
        return value.encode()
    return orjson.dumps(value) if isinstance(value, bool) else format(value, "f").encode()


def write_fault(spec: PointSpec, place: MqttPoint, value: Value) -> str | None:
    """Why a point cannot take a value; None when it can."""
    kinds = {"number": Decimal, "text": str, "bool": bool}
    if place.type is not None and not isinstance(value, kinds[place.type]):
        return f"{value} is not a {place.type}"
    if isinstance(value, Decimal):
        low, high = spec.minimum, spec.maximum
        if not value.is_finite() or (low is not None and value < low) or (high is not None and value > high):
            return f"{value} is outside {low}..{high}"
    return None
