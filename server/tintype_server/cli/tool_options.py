"""A tool's arguments as options of ``tintype call``, and back."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

METAVARS = {"integer": "N", "number": "X", "string": "TEXT"}
WORDS = {"string": "WORD,WORD…", "integer": "N,N…", "number": "X,X…"}
"""Of lists whose items can be written without JSON, by their type."""


def options_of(schema: Mapping[str, Any], taken: Collection[str]) -> list[click.Parameter]:
    """An option for each argument. It also answers to the first words of its name (``--dataset`` for
    ``--dataset-name``) where no other option starts with them; ``taken`` are the names of those.
    """
    names = [*schema["properties"], *taken]
    required = schema.get("required", [])
    return [
        _option(name, prop, _short_names(name, names), required=name in required)
        for name, prop in schema["properties"].items()
    ]


def arguments_of(properties: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as written, those of ``--args`` first; ``UsageError`` where they cannot be read."""
    arguments: dict[str, Any] = {}
    if values["args"] is not None:
        arguments = _json(_stdin() if values["args"] == "-" else values["args"], "--args")
        if not isinstance(arguments, dict):
            raise click.UsageError("--args must be a JSON object.")
    for name, prop in properties.items():
        value = values.get(name)
        if value is None or value == ():
            continue
        if isinstance(value, tuple):
            value = [item for text in value for item in _items(text, prop, name)]
        elif isinstance(value, str) and _branch(prop).get("type") in {"array", "object", None}:
            value = _json(value, flag_of(name))
        arguments[name] = value
    return arguments


def in_options(text: str, properties: Collection[str]) -> str:
    """A refusal of arguments, with the options in the place of the arguments that it is about."""
    if not properties:
        return text
    names = "|".join(map(re.escape, properties))
    return re.sub(rf"(?<=[:;] )({names})(?=[.:])", lambda found: flag_of(found[1]), text)


def flag_of(name: str) -> str:
    """``--dataset-name`` for ``dataset_name``."""
    return f"--{name.replace('_', '-')}"


def _option(name: str, prop: Mapping[str, Any], short: Sequence[str], *, required: bool) -> click.Option:
    branch = _branch(prop)
    kind = branch.get("type")
    text = prop.get("description", "")
    if kind == "boolean":
        return click.Option([f"{flag_of(name)}/--no-{name.replace('_', '-')}", name], default=None, help=text)
    if required:
        text += "  [required]"
    flags = [*map(flag_of, (name, *short)), name]
    if word := _word(branch):
        return click.Option(flags, metavar=word, multiple=True, help=f"{text} Or a JSON array.".strip())
    if choices := branch.get("enum"):  # told, not checked: the tool refuses with the same words as everywhere
        return click.Option(flags, metavar="|".join(map(str, choices)), help=text)
    return click.Option(flags, metavar=METAVARS.get(kind or "", "JSON"), help=text)


def _short_names(name: str, names: Collection[str]) -> list[str]:
    words = name.split("_")
    heads = ["_".join(words[:count]) for count in range(1, len(words))]
    return [
        head
        for head in heads
        if not any(other == head or other.startswith(f"{head}_") for other in names if other != name)
    ]


def _branch(prop: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an argument is when it is given: of a choice with null the other one."""
    if "type" in prop:
        return prop
    for branch in prop.get("anyOf", []):
        if branch.get("type") != "null":
            found: Mapping[str, Any] = branch
            return found
    return {}


def _word(branch: Mapping[str, Any]) -> str | None:
    """How a list of such items is written without JSON; None where it cannot be."""
    items = branch.get("items") if branch.get("type") == "array" else None
    return WORDS.get(str(items.get("type"))) if isinstance(items, dict) else None


def _items(text: str, prop: Mapping[str, Any], name: str) -> list[Any]:
    """Of one value of a list option: a JSON array, or words with commas between them."""
    if text.lstrip().startswith(("[", '"')):
        found = _json(text, flag_of(name))
        return found if isinstance(found, list) else [found]
    words = [word.strip() for word in text.split(",") if word.strip()]
    if _branch(prop)["items"]["type"] == "string":
        return words
    return [_json(word, f"{flag_of(name)} {word!r}") for word in words]


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise click.UsageError("What came on stdin is not text.") from None


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError(f"{what} is not valid JSON.") from None
