"""The registry: one file per tool, no drift, and rules that every tool keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.export import REGISTRY_SCHEMA, snapshot_text
from tintype_tools.registry import CATALOG, Registry, load_registry
from tintype_tools.snapshot import as_anthropic_tool, as_mcp_tool, load_snapshot, snapshot_path, visible_tools
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

REGISTRY = load_registry()
SNAPSHOTS = Path(__file__).parent / "snapshots"
TOOLS = {tool["name"]: tool for tool in load_snapshot()["tools"]}

SEED = {
    # name: (role, cost, idempotent, required arguments, optional arguments)
    "list_datasets": ("viewer", 0, True, [], ["limit"]),
    "get_dataset": ("viewer", 0, True, ["name"], ["images_limit", "include_images"]),
    "create_dataset": ("member", 0, False, ["name"], ["description"]),
    "delete_dataset": ("admin", 0, True, ["name"], []),
    "upload_image": ("member", 0, False, ["dataset_name", "file_path"], ["folder_path"]),
    "upload_dataset_from_folder": (
        "member",
        0,
        False,
        ["dataset_name", "folder"],
        ["max_workers", "organize_by_class", "skip_existing"],
    ),
    "delete_image": ("member", 0, True, ["image_uuid"], []),
    "get_annotations": ("viewer", 0, True, ["image_uuid"], []),
    "save_annotations": ("member", 0, True, ["annotations", "image_uuid"], []),
    "auto_annotate_box": (
        "member",
        1,
        False,
        ["box", "dataset_name", "image_filename", "name"],
        ["confidence_threshold", "negative_boxes", "return_polygon"],
    ),
    "auto_annotate_point": (
        "member",
        1,
        False,
        ["dataset_name", "image_filename", "x", "y"],
        ["name", "negative_points", "positive_points", "score_threshold"],
    ),
    "auto_annotate_text": (
        "member",
        1,
        False,
        ["dataset_name", "image_filename", "text_prompt"],
        ["confidence_threshold", "output_type"],
    ),
    "auto_annotate_dataset": (
        "member",
        10,
        False,
        ["classes", "dataset_name"],
        ["confidence_threshold", "max_images", "mode", "overwrite"],
    ),
    "search_by_tag": (
        "viewer",
        0,
        True,
        ["dataset_name"],
        ["attributes", "limit", "objects", "scenes"],
    ),
    "search_by_similarity": ("viewer", 0, True, ["image_id"], ["folder_path", "limit", "threshold"]),
    "create_export": (
        "member",
        0,
        False,
        ["dataset_name", "name"],
        ["class_filter", "format", "include_images", "status_filter"],
    ),
    "list_exports": ("viewer", 0, True, [], ["limit"]),
    "download_export": ("viewer", 0, True, ["dataset_name", "export_name", "output_path"], []),
    "train_pipeline": (
        "member",
        100,
        False,
        ["dataset_name", "pipeline"],
        ["config", "gpu", "name", "wait"],
    ),
    "full_pipeline": (
        "member",
        110,
        False,
        ["classes", "dataset_name", "folder", "pipeline"],
        ["annotate", "gpu", "train"],
    ),
    "get_training_status": ("viewer", 0, True, ["run_id"], []),
    "cancel_training": ("member", 0, True, ["run_id"], []),
    "list_models": ("viewer", 0, True, [], ["limit"]),
    "download_model": ("viewer", 0, True, ["model_id", "output_path"], []),
    "get_credit_balance": ("viewer", 0, True, [], []),
    "estimate_credit_cost": ("viewer", 0, True, ["operation"], ["quantity"]),
    "validate_connector": ("member", 0, True, ["api_key", "provider"], []),
    "import_from_connector": ("member", 0, False, ["api_key", "datasets", "provider"], []),
}
"""The seed's table, as far as these tools go."""

OURS = {"wait_seconds", "preview", "contact_sheet", "offset"}
"""Optional arguments that any of them may have besides."""

OURS_OF = {
    "train_pipeline": {"export_name", "class_filter", "status_filter"},
    "full_pipeline": {"annotate_mode", "confidence_threshold", "train_config", "min_credits"},
    "get_training_status": {"epochs", "include_curves"},
    "list_models": {"status", "model_type", "dataset_name"},
    "download_model": {"format"},
    "create_dataset": {"annotation_types", "classes", "project"},
    "delete_image": {"permanent"},
    "list_exports": {"dataset_name", "status"},
}
"""Further ones of single tools: what the seed documents of the workflow behind it, and ours."""


@pytest.mark.parametrize("name", SEED)
def test_the_seeds_tools_keep_their_contract(name: str) -> None:
    tool = TOOLS[name]
    schema = tool["input_schema"]
    required = sorted(schema.get("required", []))
    optional = sorted(set(schema["properties"]) - set(required) - OURS - OURS_OF.get(name, set()))
    assert (tool["required_role"], tool["credit_cost"], tool["idempotent"], required, optional) == SEED[name]


def test_registry_json_is_what_the_code_says() -> None:
    assert snapshot_path().read_text() == snapshot_text(REGISTRY), "run `tintype registry export`"


def test_registry_json_follows_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(REGISTRY_SCHEMA)
    jsonschema.validate(load_snapshot(), REGISTRY_SCHEMA)


def test_a_tool_is_its_file() -> None:
    assert {p.stem for p in CATALOG.glob("[a-z]*.py")} == {tool.name for tool in REGISTRY}


@pytest.mark.parametrize("name", TOOLS)
def test_what_agents_see_of_a_tool_changes_only_on_purpose(name: str) -> None:
    """One snapshot per tool. Write them anew with UPDATE_SNAPSHOTS=1 and look at the diff."""
    file = SNAPSHOTS / f"{name}.json"
    current = json.dumps(as_mcp_tool(TOOLS[name]), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(current)
    assert file.exists(), "no snapshot: run with UPDATE_SNAPSHOTS=1"
    assert file.read_text() == current


def test_what_reaches_other_peoples_servers_says_so() -> None:
    """By what the handlers, plans and jobs of these tools use: a connector's web, a vision API, the hub."""
    assert {tool.name for tool in REGISTRY if tool.open_world} == {
        *("import_from_connector", "validate_connector", "train_pipeline"),
        *("auto_annotate_dataset", "auto_annotate_images", "auto_annotate_text", "full_pipeline"),
        *("call_tool", "confirm_call", "restore_snapshot"),
    }
    for name, tool in TOOLS.items():
        assert as_mcp_tool(tool)["annotations"]["openWorldHint"] is REGISTRY.get(name).open_world


def test_no_snapshot_is_left_over() -> None:
    assert {p.stem for p in SNAPSHOTS.glob("*.json")} == set(TOOLS)


@pytest.mark.parametrize("name", TOOLS)
def test_schemas_are_portable(name: str) -> None:
    text = json.dumps(TOOLS[name]["input_schema"])
    assert "$ref" not in text
    assert "$defs" not in text
    assert '"discriminator"' not in text
    for prop in TOOLS[name]["input_schema"]["properties"].values():
        assert prop.get("description"), "an argument has no description"


def test_the_tool_list_fits_an_agents_context() -> None:
    """What clients hand to the model: name, description and schema of the core tools."""
    listed = [as_anthropic_tool(tool) for tool in visible_tools("owner", None)]
    assert len(listed) <= 25
    assert len(json.dumps(listed)) / 4 < 6_000


def test_roles_see_what_they_may_call() -> None:
    counts = [len(visible_tools(role, None)) for role in ("viewer", "member", "admin", "owner")]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] <= counts[2] == sum(tool["core"] for tool in TOOLS.values())
    every = frozenset(tool["toolset"] for tool in TOOLS.values())
    counts = [len(visible_tools(role, every)) for role in ("viewer", "member", "admin", "owner")]
    assert counts[0] < counts[1] < counts[2] == len(TOOLS)
    # read_more comes with every toolset: without it, cut answers could not be read on.
    # confirm_call does, too: without it, a call that must be confirmed could not be made.
    assert {t["toolset"] for t in visible_tools("owner", frozenset({"exports"}))} == {
        "exports",
        "guardrails",
        "results",
    }


class _Args(Args):
    pass


class _Result(Result):
    pass


def _spec(**changes: object) -> ToolSpec:
    values: dict[str, object] = {
        "name": "do_thing",
        "title": "Do a thing",
        "category": Category.DATASETS,
        "toolset": "datasets",
        "description": "Use when testing.",
        "args": _Args,
        "result": _Result,
        "required_role": Role.MEMBER,
        "idempotent": True,
        "effect": Effect.WRITE,
        "handler": lambda _args, _call: _Result(),
    }
    return ToolSpec.model_validate({**values, **changes})


class _Open(Args):
    model_config = {"extra": "ignore"}


class _Nested(Args):
    inner: list[_Open]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Thing"}, "verb_noun"),
        ({"description": "Does a thing."}, "Use when"),
        ({"description": "Use when " + "x" * 1024}, "at most 1024"),
        ({"args": _Open}, "forbid unknown keys"),
        ({"args": _Nested}, "forbid unknown keys"),
        ({"credit_cost": 3}, "go together"),
        ({"effect": Effect.SPEND, "credit_cost": 1}, "go together"),
        ({"quote": lambda _args, _call: Quote("x", 1)}, "go together"),
        ({"effect": Effect.READ, "idempotent": False}, "a read is idempotent"),
        ({"quick_unless": frozenset()}, "only a read can be quick"),
        ({"atomic": False}, "needs a plan"),
        (
            {"effect": Effect.SPEND, "credit_cost": 1, "quote": lambda _args, _call: Quote("x", 1)},
            "needs a plan",
        ),
    ],
)
def test_contradictions_are_refused_at_registration(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _spec(**changes)


def test_a_sound_spec_is_accepted_and_frozen() -> None:
    spec = _spec()
    with pytest.raises(ValidationError):
        spec.name = "other_thing"  # type: ignore[misc]


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools"):
        Registry([_spec(), _spec()])


def test_the_running_call_is_a_call() -> None:
    from tintype_server.dispatch.running import RunningCall

    assert {n for n in vars(Call) if not n.startswith("_")} <= set(dir(RunningCall))
