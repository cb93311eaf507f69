"""JSON Schemas for editors, made from the models that read the files; the loader itself never looks at them.

Point an editor's YAML support at config/schema/*.json (written by ``smp-gateway schema --write``): it completes names
and marks mistakes while they are typed. The schemas say a little less than the loader: what refers to other files, and
what one part says of another, is known to ``smp-gateway check`` only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from gateway.core import openapi
from gateway.core.alignment import ALIGNED_ASSETS
from gateway.core.mapping import ARRAY, EACH, FOR_EACH
from gateway.core.profile import FieldSpec, FieldType, Profile
from gateway.ports import AdapterSpec
from gateway.settings import host, models
from gateway.settings.arrays import ArrayPart
from gateway.settings.binding import BoundMailbox
from gateway.settings.further import FurtherMessage
from gateway.settings.site_tests import TestFile

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_PLACE: Schema = {
    "type": "object",
    "properties": {"point": {"type": "string"}},
    "required": ["point"],
    "additionalProperties": False,
}
_FORMULA: Schema = {
    "type": "object",
    "description": "arithmetic over points: + - * / min max abs round",
    "properties": {"expr": {"type": "string"}},
    "required": ["expr"],
    "additionalProperties": False,
}
_PICK: Schema = {
    "type": "object",
    "description": "a value of the site's own JSON, by JMESPath",
    "properties": {"path": {"type": "string"}, "scale": {"type": "number"}, "optional": {"type": "boolean"}},
    "required": ["path"],
    "additionalProperties": False,
}
_EACH: Schema = {
    "type": "object",
    "description": "a constant of its own for each element of the array",
    "properties": {EACH: {"type": "array", "minItems": 1}},
    "required": [EACH],
    "additionalProperties": False,
}
_NAME: Schema = {"anyOf": [_PLACE, _PICK]}
_ALIGNED: Schema = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"existing": {"type": "string"}},
            "required": ["existing"],
            "additionalProperties": False,
        },
        {"type": "object", "properties": {"name": _NAME}, "required": ["name"], "additionalProperties": False},
    ]
}
_NUMBERS = frozenset({FieldType.NUMBER, FieldType.MAGNITUDE})
_LISTS = frozenset({FieldType.WORDS, FieldType.NAMES})


def schemas(adapters: Mapping[str, AdapterSpec], profile: Profile) -> dict[str, Schema]:
    """A schema per kind of file, and the OpenAPI document of our callback listener; the members are this profile's."""
    return {
        "gateway": _document(host.Gateway, "gateway.yaml"),
        "participant": _document(host.ParticipantFile, "participants/*.yaml"),
        "site": _site(adapters, profile),
        "site-test": _document(TestFile, "sites/*.test.yaml"),
        "profile": _document(Profile, "profiles/*.yaml"),
        "callbacks.openapi": openapi.callbacks(profile),
    }


def written(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _document(model: type[BaseModel], title: str) -> Schema:
    schema = _with_variables(model.model_json_schema())
    return {**schema, "$schema": _DIALECT, "title": title}


def _site(adapters: Mapping[str, AdapterSpec], profile: Profile) -> Schema:
    schema = models.SiteFile.model_json_schema()
    definitions: Schema = schema.pop("$defs", {})
    sections = {
        "connections": [_joined(models.Connection, spec.connection_model, spec) for spec in _sorted(adapters)],
        "points": [_joined(models.Point, spec.point_model, spec) for spec in _sorted(adapters)],
        "arrays": [_array(spec) for spec in _sorted(adapters) if hasattr(spec.point_model, "shifted")],
        "mailboxes": [models.Mailbox.model_json_schema(), BoundMailbox.model_json_schema()],
        "messages": [_message(profile, adapters), *_further(profile)],
    }
    for name, parts in sections.items():
        for part in parts:
            definitions.update(part.pop("$defs", {}))
        schema["properties"][name]["additionalProperties"] = parts[0] if len(parts) == 1 else {"anyOf": parts}
    relay = models.Relay.model_json_schema()
    definitions.update(relay.pop("$defs", {}))
    schema["properties"]["relay"]["items"] = relay
    schema = _with_variables({**schema, "$defs": definitions})
    return {**schema, "$schema": _DIALECT, "title": "sites/*.yaml"}


def _sorted(adapters: Mapping[str, AdapterSpec]) -> list[AdapterSpec]:
    return [adapters[name] for name in sorted(adapters)]


def _joined(generic: type[BaseModel], own: type[BaseModel], spec: AdapterSpec) -> Schema:
    """The members that every protocol has, and those of this one, in one mapping."""
    first, second = generic.model_json_schema(), own.model_json_schema()
    properties = {**first["properties"], **second["properties"]}
    if "protocol" in properties:
        properties["protocol"] = {"const": spec.protocol}
    return {
        "type": "object",
        "description": f"{spec.protocol}: {second.get('description', '')}",
        "properties": properties,
        "required": sorted({*first.get("required", ()), *second.get("required", ())}),
        "additionalProperties": False,
        "$defs": {**first.get("$defs", {}), **second.get("$defs", {})},
    }


def _array(spec: AdapterSpec) -> Schema:
    """An array, whose points are those of a protocol with registers, without their connection."""
    schema, point = ArrayPart.model_json_schema(), _joined(models.Point, spec.point_model, spec)
    definitions = {**schema.pop("$defs", {}), **point.pop("$defs")}
    del point["properties"]["connection"]
    point["required"] = [name for name in point["required"] if name != "connection"]
    schema["properties"]["points"]["additionalProperties"] = point
    return {**schema, "$defs": definitions}


def _message(profile: Profile, adapters: Mapping[str, AdapterSpec]) -> Schema:
    schema = models.Message.model_json_schema()
    asset = _members(profile.asset.members, profile)
    asset["properties"][FOR_EACH] = {
        "description": "JMESPath to a list in the site's own JSON, in whose elements paths begin, or {array: NAME} of "
        "the site: one asset for each element",
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {ARRAY: {"type": "string"}},
                "required": [ARRAY],
                "additionalProperties": False,
            },
        ],
    }
    unit = {name: field for name, field in profile.unit.members.items() if name != ALIGNED_ASSETS}
    forms: Mapping[str, Schema] = {
        "assets": {"type": "array", "minItems": 1, "items": asset},
        "unit": _members(unit, profile),
        "aligned": {"type": "array", "minItems": 1, "items": _ALIGNED},
    }
    for name, form in forms.items():
        schema["properties"][name] = {**form, "description": schema["properties"][name]["description"]}
    own = [spec.trigger_model for spec in _sorted(adapters) if spec.trigger_model is not None]
    for each in (model.model_json_schema() for model in own):
        schema["$defs"].update(each.get("$defs", {}))
        schema["$defs"]["When"]["properties"] |= each["properties"]
    return schema


def _further(profile: Profile) -> list[Schema]:
    """The messages of further kinds; what their content holds is the profile's own schema, but for its places."""
    if not profile.kinds:
        return []
    schema = FurtherMessage.model_json_schema()
    schema["properties"]["kind"] = {"enum": sorted(profile.kinds)}
    return [schema]


def _members(members: Mapping[str, FieldSpec], profile: Profile) -> Schema:
    return {
        "type": "object",
        "properties": {name: _field(field, profile) for name, field in members.items()},
        "required": sorted(name for name, field in members.items() if field.required),
        "additionalProperties": False,
    }


def _field(field: FieldSpec, profile: Profile) -> Schema:
    if field.type is FieldType.GROUP:
        return _members(field.members, profile)
    if field.type is FieldType.METER_POINTS:
        return {"type": "array", "items": _members(field.members, profile), "minItems": field.at_least}
    value: Schema = {"type": "number"} if field.type in _NUMBERS else {"type": "string"}
    if field.words is not None:
        value = {"enum": list(profile.enums[field.words])}
    if field.type in _LISTS:
        value = {"type": "array", "items": value}
    choices = [value, _PLACE, _FORMULA, _PICK, _EACH, *([{"type": "null"}] if field.nullable else [])]
    return {"anyOf": choices}


def _with_variables(node: Any) -> Any:  # noqa: ANN401 -- a schema is any JSON
    """Let ``${NAME}`` stand wherever a scalar of a certain form is expected."""
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _below(key, value) for key, value in node.items()}
    scalar = inner.get("type") in {"integer", "number", "boolean"} or "enum" in inner or "const" in inner
    if scalar or (inner.get("type") == "string" and "pattern" in inner):
        about = {key: inner.pop(key) for key in ("description", "title", "default") if key in inner}
        return {**about, "anyOf": [inner, _VARIABLE]}
    return inner


def _below(key: str, value: Any) -> Any:  # noqa: ANN401 -- a schema is any JSON
    if key in {"properties", "$defs"}:  # names of members, not of keywords
        return {name: _with_variables(schema) for name, schema in value.items()}
    return value if key in {"enum", "const", "default", "propertyNames"} else _with_variables(value)
