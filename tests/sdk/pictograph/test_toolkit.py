"""The published SDK's agent toolkit: each of its tools, dispatched, with what it really does here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from support.providers import KEY
from support.sdk import Sdk
from support.sdk_worlds import LABELLED, LONG, open_scenes, pictures

DISPATCH = """
from pictograph.agents import create_toolkit
return create_toolkit(client=client, **made).dispatch(tool, given)
"""
BOX = {"id": "b1", "name": "red", "type": "bbox", "bounding_box": {"x": 4, "y": 5, "w": 30, "h": 20}}
CLASSES = [{"name": "red", "output_type": "bbox"}, {"name": "blue", "output_type": "bbox"}]


@pytest.fixture(scope="module")
def scenes(one_core: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_scenes(tmp_path_factory.mktemp("toolkit")) as opened:
        yield opened


def dispatch(sdk: Sdk, tool: str, **given: Any) -> Any:
    return sdk.run(DISPATCH, tool=tool, given=given, made={})


def image_ids(sdk: Sdk, name: str = "scenes") -> dict[str, str]:
    found = dispatch(sdk, "get_dataset", name=name, include_images=True)
    return {image["filename"]: image["id"] for image in found["images"]}


def test_each_tool_of_the_registry_is_dispatched_here(scenes: Sdk) -> None:
    calls = [node for node in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(node, ast.Call)]
    named = {
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id == "dispatch"
        and isinstance(call.args[1], ast.Constant)
    }
    tools = scenes.run("return [[tool.name, tool.required_role] for tool in pictograph.REGISTRY]")
    assert len(tools) == 28
    assert named == {name for name, _ in tools}


def test_datasets(scenes: Sdk) -> None:
    made = dispatch(scenes, "create_dataset", name="kit", description="of tools")
    listed = dispatch(scenes.as_("viewer"), "list_datasets", limit=10)
    assert (made["id"] in [each["id"] for each in listed["datasets"]], listed["count"]) == (
        True,
        len(listed["datasets"]),
    )
    found = dispatch(scenes.as_("viewer"), "get_dataset", name="kit")
    assert (found["description"], found["image_count"]) == ("of tools", 0)
    assert dispatch(scenes, "delete_dataset", name="kit") == {"deleted": True, "name": "kit"}
    shape = scenes.fails(DISPATCH, tool="get_dataset", given={"name": "kit"}, made={})
    assert shape["type"] == "NotFoundError"


def test_images_and_annotations(scenes: Sdk, tmp_path: Path) -> None:
    dispatch(scenes, "create_dataset", name="kit images")
    path = pictures(tmp_path / "kit", "k.png") / "k.png"
    image = dispatch(
        scenes, "upload_image", dataset_name="kit images", file_path=str(path), folder_path="/day"
    )
    assert (image["filename"], image["width"], image["height"]) == ("k.png", 160, 160)
    saved = dispatch(scenes, "save_annotations", image_uuid=image["id"], annotations=[BOX])
    assert (saved["previous_count"], saved["new_count"]) == (0, 1)
    found = dispatch(scenes.as_("viewer"), "get_annotations", image_uuid=image["id"])
    assert found["count"] == 1
    (annotation,) = found["annotations"]
    assert annotation["bounding_box"] == BOX["bounding_box"]
    assert dispatch(scenes, "delete_image", image_uuid=image["id"])["deleted"] is True
    assert dispatch(scenes, "get_dataset", name="kit images")["archived_images"] == 1


def test_prompts_and_search(scenes: Sdk) -> None:
    at = {"dataset_name": "scenes", "image_filename": "0.png"}
    point = dispatch(
        scenes,
        "auto_annotate_point",
        **at,
        x=20,
        y=20,
        name="spot",
        score_threshold=0.1,
        negative_points=[[90, 90]],
    )
    assert (point["status"], point["annotations"][0]["type"]) == ("success", "polygon")
    box = dispatch(
        scenes,
        "auto_annotate_box",
        **at,
        box={"x": 0, "y": 0, "w": 50, "h": 50},
        name="cell",
        return_polygon=False,
        confidence_threshold=0.1,
    )
    assert (box["status"], box["annotations"][0]["type"]) == ("success", "bbox")
    text = dispatch(scenes, "auto_annotate_text", **at, text_prompt="red", output_type="bbox")
    assert [annotation["name"] for annotation in text["annotations"]] == ["red"]
    tagged = dispatch(scenes, "search_by_tag", dataset_name="scenes", objects=["red"])
    assert tagged["count"] >= LABELLED
    alike = dispatch(
        scenes, "search_by_similarity", image_id=image_ids(scenes)["0.png"], threshold=0.1, limit=2
    )
    assert alike["count"] == 2


def test_exports(scenes: Sdk, tmp_path: Path) -> None:
    made = dispatch(
        scenes, "create_export", dataset_name="scenes", name="kit", format="coco", include_images=False
    )
    assert (made["status"], made["image_count"]) == ("completed", LABELLED)
    listed = dispatch(scenes, "list_exports", limit=10)
    assert made["id"] in [export["id"] for export in listed["exports"]]
    path = str(tmp_path / "kit.zip")
    asked = {"dataset_name": "scenes", "export_name": "kit", "output_path": path}
    assert dispatch(scenes, "download_export", **asked)["output_path"] == path
    assert Path(path).read_bytes()[:2] == b"PK"


def test_credits(scenes: Sdk) -> None:
    balance = dispatch(scenes, "get_credit_balance")
    told = dispatch(scenes, "estimate_credit_cost", operation="training_a10g_per_minute", quantity=3)
    assert (told["total_credits"], told["credits_remaining"]) == (30, balance["credits_remaining"])
    assert told["sufficient"] is True


def test_connectors(scenes: Sdk) -> None:
    scenes.server.provider.add_v7("kit-roads", 2)
    found = dispatch(scenes, "validate_connector", provider="v7", api_key=KEY)
    assert found["valid"] is True
    (remote,) = [each for each in found["datasets"] if each["slug"] == "kit-roads"]
    job = dispatch(scenes, "import_from_connector", provider="v7", api_key=KEY, datasets=[remote])
    assert (job["status"], job["imported_images"]) == ("completed", 2)


def test_workflows_training_and_models(scenes: Sdk, tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "in", "t1.png", "day/t2.png"))
    report = dispatch(
        scenes, "upload_dataset_from_folder", dataset_name="scenes", folder=folder, max_workers=2
    )
    assert (report["images_uploaded"], report["failures"]) == (2, [])
    marked = dispatch(
        scenes, "auto_annotate_dataset", dataset_name="scenes", classes=CLASSES, mode="text", max_images=2
    )
    assert (marked["images_processed"], marked["failures"]) == (2, [])
    full = dispatch(
        scenes,
        "full_pipeline",
        dataset_name="scenes",
        folder=str(pictures(tmp_path / "full", "t3.png")),
        classes=CLASSES,
        pipeline="yolox",
        train=False,
    )
    assert (full["upload"]["images_uploaded"], full["annotate"]["failures"]) == (1, [])
    asked = {"dataset_name": "scenes", "pipeline": "yolox", "wait": False}
    started = dispatch(scenes, "train_pipeline", **asked, config=LONG, name="kit run")["training_run"]
    told = dispatch(scenes, "get_training_status", run_id=started["id"])
    assert told["status"] in {"pending", "queued", "running"}
    stopped = dispatch(scenes, "cancel_training", run_id=started["id"])
    assert stopped["id"] == started["id"]
    models = dispatch(scenes, "list_models", limit=10)["models"]
    (model,) = [each for each in models if each["name"] == "finder"]
    path = str(tmp_path / "finder.onnx")
    assert dispatch(scenes, "download_model", model_id=model["id"], output_path=path)["output_path"] == path
    assert Path(path).stat().st_size > 100


def test_what_the_toolkit_does_before_and_after_a_call(scenes: Sdk) -> None:
    shape = scenes.fails(DISPATCH, tool="no_such_tool", given={}, made={})
    assert shape["type"] == "KeyError"
    shape = scenes.fails(DISPATCH, tool="list_datasets", given={"limit": 0}, made={})
    assert shape["type"] == "ValidationError"
    cut = scenes.run(DISPATCH, tool="list_datasets", given={}, made={"max_response_tokens": 10})
    assert cut["_truncated"] is True
    whole = scenes.run(DISPATCH, tool="list_datasets", given={}, made={"max_response_tokens": 0})
    assert len(whole["datasets"]) == whole["count"]


def test_each_role_may_what_its_tools_say(scenes: Sdk) -> None:
    """What the SDK's own list says a viewer may not, this server refuses to a viewer."""
    asked = {
        "create_dataset": {"name": "not mine"},
        "delete_dataset": {"name": "scenes"},
        "delete_image": {"image_uuid": image_ids(scenes)["1.png"]},
        "save_annotations": {"image_uuid": image_ids(scenes)["1.png"], "annotations": []},
        "auto_annotate_point": {"dataset_name": "scenes", "image_filename": "1.png", "x": 20, "y": 20},
        "create_export": {"dataset_name": "scenes", "name": "not mine"},
        "train_pipeline": {"dataset_name": "scenes", "pipeline": "yolox", "wait": False},
    }
    for tool, given in asked.items():
        shape = scenes.as_("viewer").fails(DISPATCH, tool=tool, given=given, made={})
        assert (tool, shape["type"], shape["status_code"]) == (tool, "ForbiddenError", 403)
    shape = scenes.as_("member").fails(DISPATCH, tool="delete_dataset", given={"name": "scenes"}, made={})
    assert shape["type"] == "ForbiddenError"


def test_both_adapters_take_the_tools_and_results(scenes: Sdk) -> None:
    claude, openai, plain = scenes.run(
        """
        from pictograph.agents import create_toolkit, for_anthropic_messages, for_openai_responses
        toolkit = create_toolkit(client=client)
        return [for_anthropic_messages(toolkit), for_openai_responses(toolkit), toolkit.as_json_schema()]
        """
    )
    names = [tool["name"] for tool in plain]
    assert [tool["name"] for tool in claude] == [tool["name"] for tool in openai] == names
    assert {tool["type"] for tool in openai} == {"function"}


def test_each_of_its_tools_is_one_of_ours_too(scenes: Sdk) -> None:
    """The tool list that this server gives has them, with arguments under the same names."""
    ours, theirs = scenes.run(
        """
        import httpx
        from pictograph.agents import create_toolkit
        url = f"{client._transport._config.base_url}/api/v1/developer/tools.json?toolsets=all"
        ours = httpx.get(url, headers={"X-API-Key": key}).json()["tools"]
        return [ours, create_toolkit(client=client).as_json_schema()]
        """,
        key=scenes.key,
    )
    mine = {tool["name"]: set(tool["input_schema"]["properties"]) for tool in ours}
    for tool in theirs:
        properties = set(tool["input_schema"].get("properties", ()))
        assert properties <= mine.get(tool["name"], set()), (tool["name"], properties - mine[tool["name"]])
