"""Strict variants: valid by the providers' rules for every tool, and arguments come back as they were."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agent_stub import strict_for_anthropic, strict_for_openai

from tintype_studio.errors import InvalidInput
from tintype_tools.adapters import for_anthropic_messages
from tintype_tools.adapters.strict import (
    ANTHROPIC,
    ANTHROPIC_LIMITS,
    JSON_TEXT,
    OPENAI,
    Dialect,
    Load,
    load_of,
    null_is_a_value,
    restored,
    strict_schema,
)
from tintype_tools.snapshot import load_snapshot
from tintype_tools.toolkit import Toolkit

TOOLS = {tool["name"]: tool["input_schema"] for tool in load_snapshot()["tools"]}
DIALECTS = {"openai": OPENAI, "anthropic": ANTHROPIC}
ODD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["must", "must_or_null"],
    "properties": {
        "must": {"type": "string", "minLength": 1},
        "must_or_null": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "null_counts": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 3},
        "may": {"enum": ["a", "b"], "type": "string", "default": "a"},
        "free": {"type": "object", "additionalProperties": True},
        "mixed": {
            "type": "array",
            "minItems": 2,
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "additionalProperties": True},
                    {"type": "boolean"},
                ]
            },
        },
        "deep": {
            "anyOf": [
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"x": {"type": "number", "default": 0.5}, "y": {"type": "number"}},
                },
                {"type": "null"},
            ]
        },
    },
}
"""What no tool has all of."""
SCHEMAS = TOOLS | {"odd": ODD}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_strict_by_the_rules(name: str) -> None:
    strict_for_openai(strict_schema(SCHEMAS[name], OPENAI))
    strict_for_anthropic(strict_schema(SCHEMAS[name], ANTHROPIC))


def written(value: Any, schema: dict[str, Any], dialect: Dialect) -> Any:
    """Arguments as a model in strict mode has to write them."""
    if "anyOf" in schema:
        for arm in schema["anyOf"]:
            if jsonschema.Draft202012Validator(arm).is_valid(value):
                return written(value, arm, dialect)
    if isinstance(value, dict):
        if schema.get("additionalProperties") is not False:
            return {JSON_TEXT: json.dumps(value)}
        made = {k: written(v, schema["properties"][k], dialect) for k, v in value.items()}
        for name, inner in schema["properties"].items():
            if name not in made and dialect.all_required:
                made[name] = inner["default"] if null_is_a_value(inner) else None
        return made
    if isinstance(value, list):
        return [written(item, schema.get("items", {}), dialect) for item in value]
    return value


def meaning(value: Any, schema: dict[str, Any]) -> Any:
    """Arguments with what they leave open said: defaults, and null for nothing."""
    if "anyOf" in schema:
        for arm in schema["anyOf"]:
            if jsonschema.Draft202012Validator(arm).is_valid(value):
                return meaning(value, arm)
    if isinstance(value, dict) and schema.get("additionalProperties") is False:
        return {
            name: meaning(value[name], inner) if name in value else inner.get("default")
            for name, inner in schema["properties"].items()
        }
    if isinstance(value, list):
        return [meaning(item, schema.get("items", {})) for item in value]
    return value


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of([values(arm) for arm in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            if (further := schema.get("additionalProperties", True)) is not False:
                json_values = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
                held = values(further) if isinstance(further, dict) else json_values
                least = schema.get("minProperties", 0)
                return st.dictionaries(st.text(max_size=5), held, min_size=least, max_size=least + 3)
            required = schema.get("required", [])
            fields = {name: values(inner) for name, inner in schema["properties"].items()}
            return st.fixed_dictionaries(
                {n: f for n, f in fields.items() if n in required},
                optional={n: f for n, f in fields.items() if n not in required},
            )
        case "array":
            low = schema.get("minItems", 0)
            high = min(schema.get("maxItems", low + 2), low + 2)
            return st.lists(values(schema["items"]), min_size=low, max_size=high)
        case "string":
            if "pattern" in schema:
                return st.from_regex(schema["pattern"], fullmatch=True)
            if schema.get("format") == "date-time":
                return st.datetimes().map(lambda t: t.isoformat() + "Z")
            return st.text(min_size=schema.get("minLength", 0), max_size=schema.get("minLength", 0) + 8) | (
                st.sampled_from(['{"a": 1}', "null", "{"]) if not schema.get("minLength") else st.nothing()
            )
        case "integer":
            low = schema.get("minimum", -5)
            high = schema.get("maximum", schema.get("exclusiveMaximum", low + 10) - 1)
            return st.integers(low, min(high, low + 9))
        case "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -5))
            return st.floats(
                low,
                schema.get("maximum", schema.get("exclusiveMaximum", low + 9)),
                exclude_min="exclusiveMinimum" in schema,
                exclude_max="exclusiveMaximum" in schema,
            )
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    raise AssertionError(schema)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_arguments_come_back_as_they_were(name: str, dialect: str) -> None:
    ours = SCHEMAS[name]
    strict = strict_schema(ours, DIALECTS[dialect])
    judge, own = jsonschema.Draft202012Validator(strict), jsonschema.Draft202012Validator(ours)

    @settings(max_examples=8, deadline=None, database=None)
    @given(values(ours))
    def check(arguments: dict[str, Any]) -> None:
        own.validate(arguments)
        sent = written(arguments, ours, DIALECTS[dialect])
        if DIALECTS[dialect].all_required:
            judge.validate(sent)
        back = restored(sent, ours)
        own.validate(back)
        assert meaning(back, ours) == meaning(arguments, ours)

    check()


def test_null_keeps_a_meaning_of_its_own() -> None:
    sent = {"must": "x", "must_or_null": None, "null_counts": None, "may": None, "free": None, "mixed": None}
    assert restored(sent, ODD) == {"must": "x", "must_or_null": None, "null_counts": None}
    assert "null_counts" not in restored({"must": "x", "must_or_null": 1}, ODD)


@pytest.mark.parametrize("text", ["{", "[1]", "3", ""])
def test_a_json_text_that_is_no_object_is_told(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"free\.json is not a JSON object") as raised:
        restored({"free": {JSON_TEXT: text}}, ODD)
    assert raised.value.code == "invalid_json"


def test_what_fits_nothing_is_left_for_the_tool_to_refuse() -> None:
    odd = {"must": 3, "what": None, "deep": "no", "mixed": {"a": 1}, "free": {"a": 1}}
    assert restored(odd, ODD) == odd


# ---------------------------------------------------------------------------------- how many Anthropic takes


def test_as_many_tools_are_strict_as_a_request_holds(toolkit: Toolkit) -> None:
    tools = for_anthropic_messages(toolkit, strict=True)
    strict = [tool for tool in tools if tool.get("strict")]
    total = sum((load_of(tool["input_schema"]) for tool in strict), Load())
    assert len(strict) >= 8
    assert total.within(ANTHROPIC_LIMITS)
    plain = next(tool for tool in tools if not tool.get("strict"))
    assert plain["input_schema"] == TOOLS[plain["name"]]
    left = [load_of(strict_schema(TOOLS[t["name"]], ANTHROPIC)) for t in tools if not t.get("strict")]
    assert not any((total + load).within(ANTHROPIC_LIMITS) for load in left)


def test_named_tools_are_strict_or_it_is_said_why_not(toolkit: Toolkit) -> None:
    tools = for_anthropic_messages(toolkit, strict=["save_annotations", "get_dataset"])
    assert [t["name"] for t in tools if t.get("strict")] == ["get_dataset", "save_annotations"]
    with pytest.raises(InvalidInput, match="No such tools: nothing_such"):
        for_anthropic_messages(toolkit, strict=["nothing_such", "get_dataset"])
    with pytest.raises(InvalidInput, match="more than a request may hold"):
        for_anthropic_messages(toolkit, strict=[tool["name"] for tool in tools])
