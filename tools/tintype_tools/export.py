"""Writes and checks ``registry.json``."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import jsonschema
from pydantic import BaseModel

from tintype_tools.registry import Registry
from tintype_tools.spec import ToolSpec

REGISTRY_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Tintype tool registry",
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "count", "tools"],
    "properties": {
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
        "count": {"type": "integer", "minimum": 1},
        "tools": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": [
                    "name",
                    "title",
                    "category",
                    "toolset",
                    "core",
                    "description",
                    "input_schema",
                    "output_schema",
                    "required_role",
                    "credit_cost",
                    "idempotent",
                    "effect",
                    "open_world",
                ],
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)+$"},
                    "title": {"type": "string"},
                    "category": {"type": "string"},
                    "toolset": {"type": "string"},
                    "core": {"type": "boolean"},
                    "description": {"type": "string", "maxLength": 1024, "pattern": "^Use when"},
                    "input_schema": {"$ref": "#/$defs/object_schema"},
                    "output_schema": {"$ref": "#/$defs/object_schema"},
                    "required_role": {"enum": ["viewer", "member", "admin", "owner"]},
                    "credit_cost": {"type": "integer", "minimum": 0},
                    "idempotent": {"type": "boolean"},
                    "effect": {"enum": ["read", "write", "destroy", "spend"]},
                    "open_world": {"type": "boolean"},
                },
            },
        },
    },
    "$defs": {
        "object_schema": {
            "type": "object",
            "required": ["type", "properties", "additionalProperties"],
            "properties": {"type": {"const": "object"}, "additionalProperties": {"const": False}},
        }
    },
}
"""What ``registry.json`` must look like."""


def build_snapshot(registry: Registry) -> dict[str, Any]:
    """The registry as data, valid against ``REGISTRY_SCHEMA``; every schema in it is a valid schema."""
    tools = [_entry(tool) for tool in registry]
    snapshot = {"version": version("tintype"), "count": len(tools), "tools": tools}
    jsonschema.Draft202012Validator(REGISTRY_SCHEMA).validate(snapshot)
    for tool in tools:
        jsonschema.Draft202012Validator.check_schema(tool["input_schema"])
        jsonschema.Draft202012Validator.check_schema(tool["output_schema"])
    return snapshot


def snapshot_text(registry: Registry) -> str:
    """The exact text of ``registry.json``."""
    return json.dumps(build_snapshot(registry), indent=1, ensure_ascii=False) + "\n"


def _entry(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "category": tool.category.value,
        "toolset": tool.toolset,
        "core": tool.core,
        "description": tool.description,
        "input_schema": json_schema(tool.args),
        "output_schema": json_schema(tool.result, mode="serialization"),
        "required_role": tool.required_role.value,
        "credit_cost": tool.credit_cost,
        "idempotent": tool.idempotent,
        "effect": tool.effect.value,
        "open_world": tool.open_world,
    }


def json_schema(model: type[BaseModel], mode: Any = "validation") -> dict[str, Any]:
    """A model's JSON Schema with references resolved and automatic titles left out.

    References and discriminators trip several agent frameworks; automatic titles, the model's own docstring
    and a default of null only cost tokens.
    """
    schema = model.model_json_schema(mode=mode)
    definitions = schema.pop("$defs", {})
    schema.pop("description", None)
    clean: dict[str, Any] = _clean(schema, definitions)
    return clean


def _clean(node: Any, definitions: dict[str, Any], *, names: bool = False) -> Any:
    if isinstance(node, list):
        return [_clean(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = {k: v for k, v in definitions[node["$ref"].rsplit("/", 1)[-1]].items() if k != "description"}
        rest = {k: v for k, v in node.items() if k != "$ref"}
        return _clean({**target, **rest}, definitions)
    return {
        key: _clean(value, definitions, names=key == "properties")
        for key, value in node.items()
        if names or not (key in {"title", "discriminator"} or (key == "default" and value is None))
    }
