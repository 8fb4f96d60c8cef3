"""Prompts: the cookbook's recipes, filled in, for those who can follow them; and completion."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mcp.types as t
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tintype_server.mcp import completion, identity
from tintype_server.mcp.recipes import RECIPES, Recipe
from tintype_server.mcp.resources import ADDRESSES
from tintype_tools.registry import load_registry

from .conftest import ERAS, Desk

EXAMPLES = {"dataset_name": "street lamps"}


def names(desk: Desk, **options: Any) -> list[str]:
    async def talk(client: Client) -> list[str]:
        return [prompt.name for prompt in (await client.list_prompts()).prompts]

    return desk.ask(talk, **options)


def get(desk: Desk, name: str, values: dict[str, str] | None = None, **options: Any) -> str:
    async def talk(client: Client) -> str:
        message = (await client.get_prompt(name, values)).messages[0]
        assert isinstance(message.content, t.TextContent)
        return message.content.text

    return desk.ask(talk, **options)


def complete(desk: Desk, ref: Any, argument: str, begun: str, **options: Any) -> t.Completion:
    async def talk(client: Client) -> t.Completion:
        return (await client.complete(ref, {"name": argument, "value": begun})).completion

    return desk.ask(talk, **options)


def prompt(name: str) -> t.PromptReference:
    return t.PromptReference(type="ref/prompt", name=name)


def template(uri: str) -> t.ResourceTemplateReference:
    return t.ResourceTemplateReference(type="ref/resource", uri=uri)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_names_tools_that_exist_and_uses_every_blank(recipe: Recipe) -> None:
    registry = load_registry()
    values = {argument.name: f"<{argument.name}>" for argument in recipe.arguments}
    text = recipe.text(values)
    assert set(re.findall(r"`(\w+)`", text)) <= {spec.name for spec in registry}
    assert set(recipe.tools) <= {spec.name for spec in registry}
    assert all(value in text for value in values.values())
    for argument in recipe.arguments:
        if argument.choices_of is not None:
            tool, field = argument.choices_of
            assert field in registry.get(tool).args.model_fields


@pytest.mark.parametrize("era", ERAS)
def test_the_six_recipes_and_the_rules_are_there_for_an_owner(desk: Desk, era: str) -> None:
    assert names(desk, era=era) == [recipe.name for recipe in RECIPES]
    assert len(RECIPES) == 7
    assert "street lamps" in get(desk, "train_within_budget", EXAMPLES, era=era)


def test_the_rules_speak_of_confirmation_price_and_whole_tasks(desk: Desk) -> None:
    rules = get(desk, "house_rules")
    assert [line[:2] for line in rules.splitlines()[1:4]] == ["1.", "2.", "3."]
    for word in ("confirm_call", "estimate_credit_cost", "get_credit_balance", "full_pipeline"):
        assert f"`{word}`" in rules


def test_nobody_is_offered_a_recipe_that_the_key_cannot_follow(desk: Desk) -> None:
    assert names(desk, key=desk.keys["viewer"]) == ["house_rules"]
    assert "clean_up_datasets" not in names(desk, key=desk.keys["member"])
    assert "train_within_budget" in names(desk, key=desk.keys["member"])
    assert names(desk, read_only=True) == ["house_rules"]
    assert names(desk, toolsets=frozenset({"datasets", "exports"})) == ["house_rules", "export_finished"]
    with pytest.raises(MCPError) as caught:
        get(desk, "clean_up_datasets", key=desk.keys["viewer"])
    assert caught.value.error.data["code"] == "prompt_not_found"


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("train_within_budget", None, "dataset_name is missing"),
        ("train_within_budget", {"dataset_name": "  "}, "dataset_name is missing"),
        ("train_within_budget", {**EXAMPLES, "gpu": "a10g"}, "'gpu' is not known"),
        ("clean_up_datasets", {"which": "x" * 1001}, "more than 1000 characters"),
        ("no_such_prompt", None, "no prompt 'no_such_prompt'"),
    ],
)
def test_bad_values_are_told(desk: Desk, name: str, values: Any, told: str) -> None:
    with pytest.raises(MCPError, match=told) as caught:
        get(desk, name, values)
    assert caught.value.code == -32602


def test_braces_and_broken_characters_in_a_value_do_no_harm(desk: Desk) -> None:
    assert "{dataset_name}%s" in get(desk, "clean_up_datasets", {"which": "{dataset_name}%s"})


@pytest.mark.parametrize("era", ERAS)
def test_names_ids_and_choices_are_completed(desk: Desk, era: str) -> None:
    dataset = template("tintype://datasets/{dataset_name}")
    assert complete(desk, dataset, "dataset_name", "STR", era=era).values == ["street lamps"]
    assert complete(desk, dataset, "dataset_name", "lamp", era=era).values == ["street lamps"]
    train = prompt("train_within_budget")
    assert complete(desk, train, "dataset_name", "zz", era=era).values == []
    found = complete(desk, train, "pipeline", "rfdetr", era=era)
    assert found.values == ["rfdetr_detection", "rfdetr_segmentation"]
    assert (found.total, found.has_more) == (2, False)
    assert complete(desk, prompt("export_finished"), "format", "yo", era=era).values == ["yolo"]


def test_nothing_of_another_organization_is_completed(desk: Desk) -> None:
    dataset = template("tintype://datasets/{dataset_name}")
    assert complete(desk, dataset, "dataset_name", "", key=desk.elsewhere).values == []


def test_at_most_a_hundred_values_are_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "MAX_VALUES", 3)
    found = complete(desk, prompt("train_within_budget"), "pipeline", "")
    assert (len(found.values), found.total, found.has_more) == (3, 6, True)


@pytest.mark.parametrize(
    ("ref", "argument"),
    [
        (prompt("nope"), "dataset_name"),
        (prompt("house_rules"), "dataset_name"),
        (template("tintype://datasets/{dataset_name}"), "model_id"),
        (template("file:///{path}"), "path"),
    ],
)
def test_what_has_no_such_blank_is_refused(desk: Desk, ref: Any, argument: str) -> None:
    with pytest.raises(MCPError):
        complete(desk, ref, argument, "")


def test_the_instructions_fit_and_name_only_what_exists() -> None:
    assert len(identity.INSTRUCTIONS.encode()) <= 2048
    known = {spec.name for spec in load_registry()}
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", identity.INSTRUCTIONS)) - {"confirmation_required"}
    assert named - {"_truncated"} <= known


def test_every_prompt_and_address_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "mcp.md").read_text()
    assert all(f"`{recipe.name}`" in text for recipe in RECIPES)
    assert all(f"`{address.template}`" in text for address in ADDRESSES)
