"""Strict variants of the tools' schemas, and the way back from arguments that a strict model wrote.

In strict mode a provider holds its model to the schema while it writes, and takes only part of JSON Schema
for it. Our schemas are turned into that part by rule, never by hand:

- an object that may have any keys becomes ``{"json": "<the object as JSON text>"}``;
- limits that the provider does not enforce stand in the description instead (the server enforces them all);
- OpenAI wants every property to be required: one that may be left out may be null instead. Where null means
  something of its own beside a default, null keeps that meaning, and the default has to be written out;
- Anthropic lets properties be left out, and counts them (``ANTHROPIC_LIMITS``); where null says no more than
  that, it is left out of the schema.

``restored`` undoes it: arguments go to the dispatcher as if the schema had been ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tintype_studio.errors import InvalidInput

Schema = dict[str, Any]

JSON_TEXT = "json"
"""The one property of what stands for an object with any keys."""

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)  # what both providers know


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one provider enforces in strict mode."""

    enforced: frozenset[str]
    """Keywords that limit a value and may stay; ``minItems`` only where it is 0 or 1 for Anthropic."""
    all_required: bool
    min_items: int | None
    """The largest ``minItems`` that may stay; None for any."""
    bare_enum: bool
    """Whether an enumeration stands without its type."""


OPENAI = Dialect(
    enforced=frozenset(
        {"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxItems", "minItems"}
    ),
    all_required=True,
    min_items=None,
    bare_enum=False,
)
ANTHROPIC = Dialect(enforced=frozenset({"minItems"}), all_required=False, min_items=1, bare_enum=True)

_WORDS: dict[str, Callable[[Any], str]] = {
    "minimum": lambda v: f"At least {v}.",
    "maximum": lambda v: f"At most {v}.",
    "exclusiveMinimum": lambda v: f"Above {v}.",
    "exclusiveMaximum": lambda v: f"Below {v}.",
    "multipleOf": lambda v: f"A multiple of {v}.",
    "minLength": lambda v: f"At least {v} characters." if v > 1 else "Not empty.",
    "maxLength": lambda v: f"At most {v} characters.",
    "minItems": lambda v: f"At least {v} items." if v > 1 else "Not empty.",
    "maxItems": lambda v: f"At most {v} items.",
    "pattern": lambda v: f"Matches {v}.",
    "format": lambda v: f"As {v}.",
}
_KEPT = ("type", "enum", "const", "description")


def strict_schema(schema: Schema, dialect: Dialect) -> Schema:
    """A schema of ours as the provider takes it in strict mode."""
    return _node(schema, dialect)


def _node(schema: Schema, dialect: Dialect) -> Schema:
    if _is_free(schema):
        return _free(schema.get("description"))
    made: Schema = {key: schema[key] for key in _KEPT if key in schema}
    words = []
    for key, say in _WORDS.items():
        if key not in schema:
            continue
        value = schema[key]
        stays = key in dialect.enforced or (key == "format" and value in _FORMATS)
        if key == "minItems" and dialect.min_items is not None and value > dialect.min_items:
            stays = False
        if stays:
            made[key] = value
        else:
            words.append(say(value))
    if "anyOf" in schema:
        made["anyOf"] = [_node(arm, dialect) for arm in schema["anyOf"]]
    if "items" in schema:
        made["items"] = _node(schema["items"], dialect)
    if "properties" in schema:
        required = schema.get("required", [])
        made["properties"] = {
            name: _property(inner, dialect, required=name in required)
            for name, inner in schema["properties"].items()
        }
        made["required"] = list(made["properties"]) if dialect.all_required else list(required)
        made["additionalProperties"] = False
    if dialect.bare_enum and "enum" in made:
        made.pop("type", None)
    return _described(made, words)


def _property(schema: Schema, dialect: Dialect, *, required: bool) -> Schema:
    if required:
        return _node(schema, dialect)
    default = schema.get("default")
    if dialect.all_required:
        made = _node(schema, dialect)
        if null_is_a_value(schema):
            return _described(made, [f"Default: {json.dumps(default)}."])
        words = [f"null means {json.dumps(default)}."] if default is not None else []
        return _described(_or_null(made), words)
    if not null_is_a_value(schema):
        schema = _without_null(schema)
    return _described(
        _node(schema, dialect), [f"Default: {json.dumps(default)}."] if default is not None else []
    )


def null_is_a_value(schema: Schema) -> bool:
    """Whether null says something else than leaving the property out: it is allowed beside a default."""
    return _takes_null(schema) and schema.get("default") is not None


def _takes_null(schema: Schema) -> bool:
    kinds = schema.get("type")
    if kinds == "null" or (isinstance(kinds, list) and "null" in kinds) or None in schema.get("enum", ()):
        return True
    return any(_takes_null(arm) for arm in schema.get("anyOf", ()))


def _without_null(schema: Schema) -> Schema:
    if "anyOf" not in schema:
        return schema
    arms = [arm for arm in schema["anyOf"] if arm.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**arms[0], **rest} if len(arms) == 1 else {**rest, "anyOf": arms}


def _or_null(schema: Schema) -> Schema:
    if _takes_null(schema):
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if isinstance(schema.get("type"), str) and schema["type"] not in {"object", "array"}:
        made = {**schema, "type": [schema["type"], "null"]}
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
        return made
    rest = {key: value for key, value in schema.items() if key != "description"}
    outside = {"description": schema["description"]} if "description" in schema else {}
    return {**outside, "anyOf": [rest, {"type": "null"}]}


def _is_free(schema: Schema) -> bool:
    return schema.get("type") == "object" and schema.get("additionalProperties", True) is not False


def _free(description: str | None) -> Schema:
    made: Schema = {
        "type": "object",
        "properties": {JSON_TEXT: {"type": "string", "description": "A JSON object, as text."}},
        "required": [JSON_TEXT],
        "additionalProperties": False,
    }
    return {"description": description, **made} if description else made


def _described(schema: Schema, words: list[str]) -> Schema:
    text = " ".join([*([schema["description"]] if schema.get("description") else []), *words])
    return {**schema, "description": text} if text else schema


# ---------------------------------------------------------------------------------------------------------
# the way back


def restored(arguments: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Arguments written for a strict variant of ``schema``, as arguments for ``schema`` itself.

    Raises ``InvalidInput`` for a JSON text that is none. What does not fit the schema is handed on as it is:
    the tool's own check says what is wrong with it.
    """
    found: dict[str, Any] = _restored(arguments, schema, ())
    return found


def _restored(value: Any, schema: Schema, place: tuple[str, ...]) -> Any:
    if "anyOf" in schema:
        arm = next((arm for arm in schema["anyOf"] if _fits(value, arm)), None)
        return value if arm is None else _restored(value, arm, place)
    if isinstance(value, dict):
        if _is_free(schema):
            return _parsed(value, place)
        properties, required = schema.get("properties", {}), schema.get("required", ())
        return {
            name: _restored(inner, properties.get(name, {}), (*place, name))
            for name, inner in value.items()
            if inner is not None
            or name in required
            or name not in properties
            or null_is_a_value(properties[name])
        }
    if isinstance(value, list) and "items" in schema:
        return [_restored(item, schema["items"], (*place, str(i))) for i, item in enumerate(value)]
    return value


_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def _fits(value: Any, arm: Schema) -> bool:
    kind = arm.get("type")
    if not isinstance(kind, str):
        return True
    if isinstance(value, bool) and kind != "boolean":
        return False
    if not isinstance(value, _KINDS[kind]):
        return False
    return not isinstance(value, dict) or _is_free(arm) or set(value) <= set(arm.get("properties", ()))


def _parsed(value: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    text = value.get(JSON_TEXT)
    if set(value) != {JSON_TEXT} or not isinstance(text, str):
        return value
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidInput(
            f"{'.'.join(place)}.{JSON_TEXT} is not a JSON object.",
            code="invalid_json",
            fix='Write the object as JSON text, such as {"epochs": 20}.',
        )
    return parsed


# ---------------------------------------------------------------------------------------------------------
# how much of it Anthropic takes


@dataclass(frozen=True, slots=True)
class Load:
    """What strict tools of one request add up to."""

    tools: int = 0
    optional: int = 0
    """Properties that may be left out."""
    unions: int = 0
    """Properties of several types."""

    def __add__(self, other: Load) -> Load:
        return Load(self.tools + other.tools, self.optional + other.optional, self.unions + other.unions)

    def within(self, limits: Load) -> bool:
        """Whether none of it is over the limits."""
        return (
            self.tools <= limits.tools and self.optional <= limits.optional and self.unions <= limits.unions
        )


ANTHROPIC_LIMITS = Load(tools=20, optional=24, unions=16)
"""What the Messages API takes in one request, by its documentation; it also refuses grammars that come out
too large, which nobody can tell beforehand."""


def load_of(schema: Schema) -> Load:
    """What one strict tool adds."""
    optional = unions = 0
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            properties = node.get("properties")
            if isinstance(properties, dict):
                optional += len(set(properties) - set(node.get("required", ())))
            unions += "anyOf" in node or isinstance(node.get("type"), list)
            waiting.extend(node.values())
    return Load(1, optional, unions)
