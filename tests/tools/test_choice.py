"""The right tool is found for what users say, and the requests that measure it are sound."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

from tintype_tools.registry import load_registry
from tintype_tools.snapshot import as_anthropic_tool
from tintype_tools.tool_search import rank

FILE = Path(__file__).parents[2] / "benchmarks" / "tool_choice.py"
SPEC = importlib.util.spec_from_file_location("tintype_tool_choice", FILE)
choice = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = choice
SPEC.loader.exec_module(choice)

REGISTRY = load_registry()
TOOLS = choice.load_tools()
CORE = [tool for tool in TOOLS if tool["core"]]
REQUESTS = choice.load_requests()
HELD_OUT = [request for request in REQUESTS if request.held_out]


def test_every_tool_is_asked_for_and_the_listed_ones_more_than_once() -> None:
    asked = Counter(request.tool for request in REQUESTS)
    assert len(REQUESTS) >= 150
    assert set(asked) == {tool["name"] for tool in TOOLS}
    assert min(asked[tool["name"]] for tool in CORE) >= 2
    assert abs(len(HELD_OUT) - len(REQUESTS) / 3) <= 1


def test_requests_are_what_people_say() -> None:
    assert len({request.text.casefold() for request in REQUESTS}) == len(REQUESTS)
    for request in REQUESTS:
        assert request.tool not in request.text
        assert REGISTRY.get(request.tool).description not in request.text
        assert all(name in REGISTRY and name != request.tool for name in request.alternatives)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r.tool}-{r.text[:30]}")
def test_the_expected_arguments_are_valid(request_) -> None:
    schema = next(tool["input_schema"] for tool in TOOLS if tool["name"] == request_.tool)
    missing = set(schema.get("required", ())) - set(request_.arguments)
    assert missing == set(request_.open), "`open` names the required arguments that the words leave open"
    known = {**schema, "required": sorted(set(schema.get("required", ())) - missing)}
    jsonschema.Draft202012Validator(known).validate(request_.arguments)
    if not missing:
        REGISTRY.get(request_.tool).args.model_validate(request_.arguments)


@pytest.mark.parametrize(
    ("requests", "tools", "first", "among_three"),
    [(REQUESTS, TOOLS, 0.39, 0.60), (HELD_OUT, TOOLS, 0.44, 0.65), (REQUESTS, CORE, 0.52, 0.69)],
    ids=["all", "held-out", "core"],
)
def test_the_right_tool_is_found(requests, tools, first, among_three) -> None:
    """Floors a little below what was measured: see benchmarks/README.md before you lower one."""
    score = choice.measure(requests, tools, rank)
    pairs = choice.confusions(score.misses)[:10]
    assert score.first >= first, pairs
    assert score.among_three >= among_three, pairs


def test_descriptions_tell_more_than_names() -> None:
    for ranker in (rank, choice.rank_by_letters):
        told = choice.measure(HELD_OUT, TOOLS, ranker).among_three
        bare = choice.measure(HELD_OUT, choice.names_only(TOOLS), ranker).among_three
        assert told >= 1.5 * bare


def test_the_default_list_is_affordable() -> None:
    """Counted from the code; test_registry counts the committed snapshot."""
    assert len(json.dumps([as_anthropic_tool(tool) for tool in CORE])) / 4 < 6_000


def test_what_is_found_does_not_depend_on_the_order_of_tools() -> None:
    for request in REQUESTS[::20]:
        assert rank(request.text, TOOLS) == rank(request.text, TOOLS[::-1])


@pytest.mark.parametrize("query", ["", "   ", "?!", "the of and", "zzzyx", "\u0000\ud83d\ude00", "🦊 狐"])
def test_nothing_is_found_where_no_word_fits(query: str) -> None:
    assert rank(query, TOOLS) == []


def test_nothing_is_found_among_no_tools() -> None:
    assert rank("train a model", []) == []


@pytest.mark.parametrize("name", [tool["name"] for tool in TOOLS])
def test_a_tool_is_found_by_its_name_and_by_its_title(name: str) -> None:
    """By its name at once; by its title among the five that search_tools returns."""
    assert rank(name, TOOLS)[0][0] == name
    assert rank(f"run {name}!", TOOLS)[0][0] == name
    assert name in [found for found, _ in rank(REGISTRY.get(name).title, TOOLS)[:5]]


def _tool(name: str, description: str, **arguments: str) -> dict[str, object]:
    properties = {key: {"description": told} for key, told in arguments.items()}
    return {"name": name, "description": description, "input_schema": {"properties": properties}}


def test_a_pointer_to_another_tool_does_not_count() -> None:
    tools = [_tool("drop_tower", "Use when it falls; raise_bridge mends it."), _tool("raise_bridge", "Up.")]
    assert [name for name, _ in rank("the bridge", tools)] == ["raise_bridge"]


def test_what_things_are_called_does_not_count() -> None:
    """A dataset named after a word of a tool is no request for that tool."""
    tools = [
        _tool("stop_job", "Use when a job is stopped."),
        _tool("list_jobs", "Use when you look for jobs."),
    ]
    assert [name for name, _ in rank("stop_sign", tools)] == []
    assert rank("stop-job", tools)[0][0] == "stop_job"


def test_words_of_one_meaning_meet() -> None:
    tools = [_tool("delete_image", "Use when a picture is to go."), _tool("list_models", "Use when asked.")]
    for wish in ("erase the photo", "discard pictures", "removing images", "Throw that Photograph away!"):
        assert [name for name, _ in rank(wish, tools)] == ["delete_image"]


def test_confusions_are_counted() -> None:
    asked = [choice.Request(text="erase it", tool="list_models", arguments={}) for _ in range(2)]
    tools = [_tool("delete_image", "Use when a picture is to go."), _tool("list_models", "Use when asked.")]
    score = choice.measure(asked, tools, rank)
    assert (score.count, score.first, score.among_three) == (2, 0.0, 0.0)
    assert choice.confusions(score.misses) == [("list_models", "delete_image", 2)]
