"""What the SMP may send us and what we answer, as an OpenAPI 3.1 document made from the wire profile.

It is written for NGESO's developers and for tests; no listener serves it. What decides is the code: names and limits
are the profile's, and the answers are those of :mod:`gateway.flow.receiver` and :mod:`gateway.edge.callbacks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.profile import Profile
from gateway.core.verdict import ID_LENGTH
from gateway.core.wire_names import steps

Schema = dict[str, Any]

_REFUSALS: Mapping[int, str] = {
    400: "Not HTTP that we read, or a head beyond its bounds",
    401: "The signature, its header or its key is not accepted, the participant is not served here, or it was signed "
    "too long ago; nothing was applied",
    403: "Signed for another participant than the one of the path",
    408: "The body did not come in time",
    409: "The jti was used before, with other bytes",
    413: "Larger than the limit",
    415: "With a content-encoding",
    422: "Well signed, and not a callback that can be read; it is kept, and its transaction is asked for",
    500: "A fault of ours; send it again",
    503: "Not stored; send it again after the pause",
}
_BASE64URL = "^[A-Za-z0-9_-]+$"
_PARTICIPANT = "^[a-z][a-z0-9_-]{0,62}$"


def callbacks(profile: Profile) -> Schema:
    """The document of the callback listener for one wire profile."""
    operation = {
        "operationId": "callback",
        "summary": "A verdict, or another message of the SMP to one participant",
        "description": "Answered 200 only when it is on disk. The same bytes may be sent again at any time.",
        "parameters": _parameters(profile),
        "requestBody": {"required": True, "content": {profile.media_types.signed: {"schema": _wire_body(profile)}}},
        "responses": {"200": _accepted(profile), **{str(status): _refusal(status) for status in _REFUSALS}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Callbacks to the SMP gateway ({profile.profile})", "version": "1"},
        "paths": {profile.paths.callback: {"post": operation}},
        "components": {"schemas": {"Callback": _body(profile), "Refusal": _REFUSAL}},
    }


def _parameters(profile: Profile) -> list[Schema]:
    participant = {
        "name": "participant",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": _PARTICIPANT},
    }
    if profile.signature.form != "detached":
        return [participant]
    form = profile.signature
    signature = {
        "name": profile.headers.signature,
        "in": "header",
        "required": True,
        "description": (
            f"Detached compact JWS over the body's exact bytes (RFC 7515 appendix F), exactly one; typ "
            f"{form.typ_callback}, alg one of {', '.join(form.algorithms)}, crit iat, jti and aud"
        ),
        "schema": {"type": "string", "pattern": r"^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+$"},
    }
    return [participant, signature]


def _wire_body(profile: Profile) -> Schema:
    """The body as it travels in the profile's form; an enclosing one holds the callback as its payload."""
    match profile.signature.form:
        case "detached":
            return {"$ref": "#/components/schemas/Callback"}
        case "compact":
            return {"type": "string", "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"}
        case "flattened":
            members = ("payload", "protected", "signature")
            return {
                "type": "object",
                "properties": {name: {"type": "string", "pattern": _BASE64URL} for name in members},
                "required": list(members),
                "additionalProperties": False,
            }


def _body(profile: Profile) -> Schema:
    """A callback; members that we do not know are kept and no error."""
    names, words = profile.members.result, profile.status_words
    created, error = profile.members.created, profile.members.error
    members: dict[str, Schema] = {
        names.message_id: _text(),
        names.message_type: {**_text(), "examples": list(profile.result_types)},
        names.issued_at: _text(),
        names.participant: _text(),
        names.transaction_id: _or_null(_text(profile.limits.transaction_id_length)),
        names.submission_id: _or_null(_text()),
        names.status: {"enum": [*words.success, *words.failed, *words.pending]},
        names.notification: _or_null({"type": "string"}),
        names.results: _list({created.ref: _text(), created.smp_id: _text()}, (created.ref, created.smp_id)),
        names.errors: _list(
            {
                error.row: _or_null({"type": "integer", "minimum": error.first_row}),
                error.ref: _or_null({"type": "string"}),
                error.field: _or_null({"type": "string"}),
                error.code: {"type": "string", "minLength": 1},
                error.message: {"type": "string", "minLength": 1},
            },
            (error.code, error.message),
        ),
    }
    required = [names.message_id, names.message_type, names.issued_at, names.participant]
    schema: Schema = {"type": "object", "properties": {}, "required": required}
    for path, member in members.items():
        _put(schema, path, member)
    return schema


def _put(schema: Schema, path: str, member: Schema) -> None:
    """Put a member where its path says, making the objects on the way."""
    *outer, name = steps(path)
    for step in outer:
        schema = schema["properties"].setdefault(step, {"type": ["object", "null"], "properties": {}})
    schema["properties"][name] = member


def _text(length: int = ID_LENGTH) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": length}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _list(members: Schema, required: tuple[str, ...]) -> Schema:
    return {
        "type": ["array", "null"],
        "items": {"type": "object", "properties": members, "required": list(required)},
    }


def _accepted(profile: Profile) -> Schema:
    names = profile.acknowledgement
    return {
        "description": "On disk: new, or known before",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        names.message_id: {"type": ["string", "null"]},
                        names.word: {"enum": [names.accepted, names.duplicate]},
                    },
                    "required": [names.message_id, names.word],
                    "additionalProperties": False,
                }
            }
        },
    }


_REFUSAL: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}


def _refusal(status: int) -> Schema:
    answer: Schema = {
        "description": _REFUSALS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }
    if status == 503:
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return answer
