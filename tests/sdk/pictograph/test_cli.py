"""The published SDK's command line against this server: every command, what it prints and how it exits."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from support.sdk import Sdk
from support.sdk_worlds import LABELLED, LONG, open_scenes, pictures

BOX = {"id": "b1", "name": "red", "type": "bbox", "bounding_box": {"x": 4, "y": 5, "w": 30, "h": 20}}
MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def scenes(one_core: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_scenes(tmp_path_factory.mktemp("cli")) as opened:
        yield opened


def prints(sdk: Sdk, *arguments: str, **given: Any) -> str:
    """Standard output of a command that succeeds."""
    done = sdk.cli(*arguments, **given)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def told(sdk: Sdk, *arguments: str) -> Any:
    """What a command that succeeds prints, as JSON."""
    return json.loads(prints(sdk, *arguments))


def image_of(sdk: Sdk, name: str) -> str:
    images = told(sdk, "datasets", "get", "scenes", "--include-images")["images"]
    return next(str(image["id"]) for image in images if image["filename"] == name)


def test_datasets(scenes: Sdk, tmp_path: Path) -> None:
    made = told(scenes, "datasets", "create", "typed", "-d", "by hand")
    assert (made["name"], made["description"]) == ("typed", "by hand")
    listed = told(scenes, "datasets", "list", "--json")
    assert {each["name"] for each in listed} >= {"scenes", "typed"}
    assert len(told(scenes, "datasets", "list", "-n", "1", "--json")) == 1
    assert "typed" in prints(scenes, "datasets", "list")
    found = told(scenes, "datasets", "get", "scenes", "-I", "--images-limit", "2")
    assert (found["image_count"], len(found["images"])) == (LABELLED + 1, 2)
    out = tmp_path / "out"
    done = told(scenes, "datasets", "download", "scenes", "-o", str(out), "-w", "2")
    assert (done["images_downloaded"], done["annotations_downloaded"], done["failures"]) == (7, 7, 0)
    only = told(scenes, "datasets", "download", "scenes", "-o", str(out / "a"), "--mode", "annotations_only")
    assert only["images_downloaded"] == 0
    declined = scenes.cli("datasets", "delete", "typed", stdin="n\n")
    assert declined.returncode == 1
    assert "Deleted" in prints(scenes, "datasets", "delete", "typed", "-y")
    assert scenes.cli("datasets", "get", "typed").returncode == 1


def test_images_and_annotations(scenes: Sdk, tmp_path: Path) -> None:
    path = pictures(tmp_path / "in", "typed.png") / "typed.png"
    image = told(scenes, "images", "upload", "scenes", str(path), "-f", "/typed")
    back = tmp_path / "deep" / "back.png"
    assert told(scenes, "images", "download", image["id"], "-o", str(back))["image_id"] == image["id"]
    assert back.read_bytes() == path.read_bytes()
    assert scenes.cli("images", "upload", "scenes", str(path), "-f", "/typed").returncode == 1
    document = tmp_path / "document.json"
    document.write_text(json.dumps([BOX]))
    saved = told(scenes, "annotations", "save", image["id"], "-f", str(document))
    assert (saved["image_id"], saved["previous_count"], saved["new_count"]) == (image["id"], 0, 1)
    (annotation,) = told(scenes, "annotations", "get", image["id"])
    assert annotation["bounding_box"] == BOX["bounding_box"]
    document.write_text("{}")
    assert scenes.cli("annotations", "save", image["id"], "-f", str(document)).returncode == 2
    assert scenes.cli("annotations", "delete", image["id"], stdin="n\n").returncode == 1
    deleted = told(scenes, "annotations", "delete", image["id"], "--yes")
    assert deleted == {"image_id": image["id"], "deleted_count": 1}
    assert scenes.cli("images", "delete", image["id"], stdin="n\n").returncode == 1
    assert "Deleted" in prints(scenes, "images", "delete", image["id"], "-y")


def test_training_and_models(scenes: Sdk, tmp_path: Path) -> None:
    started = told(scenes, "train", "start", "scenes", "-p", "yolox", "--name", "typed",
                   "--config", json.dumps(LONG), "--no-wait")  # fmt: skip
    assert (started["status"], started["model_id"]) == ("queued", None)
    run = started["run_id"]
    assert told(scenes, "train", "status", run)["name"] == "typed"
    logs = scenes.cli("train", "logs", run)
    assert (logs.returncode, run in logs.stdout) == (0, True)
    assert scenes.cli("train", "cancel", run, stdin="n\n").returncode == 1
    assert told(scenes, "train", "cancel", run, "-y")["run_id"] == run
    wait = "client.training.wait_for_completion(run, poll_interval=0.3, timeout=60)"
    assert "cancelled" in scenes.fails(wait, run=run)["message"]
    assert told(scenes, "train", "cancel", run, "-y")["status"] == "cancelled"  # again is no error
    assert scenes.cli("train", "start", "scenes", "-p", "yolox", "--config", "{").returncode == 1
    models = told(scenes, "models", "list", "--json")
    (model,) = [each for each in models if each["name"] == "finder"]
    assert "finder" in prints(scenes, "models", "list", "-n", "5")
    path = tmp_path / "deep" / "finder.onnx"
    done = told(scenes, "models", "download", model["id"], "-o", str(path))
    assert done["size_bytes"] == path.stat().st_size > 100


def test_credits(scenes: Sdk) -> None:
    scenes.run("client.auto_annotate.point('scenes', '0.png', x=20, y=20, score_threshold=0.0)")
    balance = told(scenes, "credits", "balance", "--json")
    assert f"{balance['credits_remaining']}" in prints(scenes, "credits", "balance")
    history = told(scenes, "credits", "history", "-n", "5", "--offset", "0", "--json")
    assert history[0]["balance_after"] == balance["credits_remaining"]
    assert history[0]["operation"] in prints(scenes, "credits", "history", "-n", "5")
    cost = told(scenes, "credits", "estimate", "training_a10g_per_minute", "-q", "7")
    assert (cost["total_credits"], cost["sufficient"]) == (70, True)
    assert scenes.cli("credits", "estimate", "no_such_thing").returncode == 1


def test_what_needs_no_server(scenes: Sdk, tmp_path: Path) -> None:
    """``init``, ``login`` and ``agents`` in a home of their own."""
    home = str(tmp_path)
    agents = tmp_path / "AGENTS.md"
    assert scenes.cli("init", "-o", str(agents)).returncode == 0
    assert scenes.cli("init", "-o", str(agents)).returncode == 1
    assert scenes.cli("init", "-o", str(agents), "-f").returncode == 0
    assert scenes.cli("login", "--api-key", scenes.key, HOME=home).returncode == 0
    config = tmp_path / ".pictograph" / "config.toml"
    assert (config.stat().st_mode & 0o777, scenes.key in config.read_text()) == (0o600, True)
    assert scenes.cli("datasets", "list", "--json", HOME=home, PICTOGRAPH_API_KEY="").returncode == 0
    tools = tmp_path / "tools.json"
    assert scenes.cli("agents", "export-tools", "-o", str(tools)).returncode == 0
    assert len(json.loads(tools.read_text())) == len(told(scenes, "agents", "export-tools")) == 28
    assert "(28)" in prints(scenes, "agents", "list-tools")
    made = told(scenes, "agents", "install-skill", "--target", "both", "--output", str(tmp_path / "skills"))
    assert (tmp_path / "skills" / "pictograph-cv" / "SKILL.md").exists()
    with zipfile.ZipFile(made["claude_ai_zip"]) as archive:
        assert "pictograph-cv/SKILL.md" in archive.namelist()
    assert scenes.cli("agents", "install-skill", "--target", "moon").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("datasets", "get", "nowhere"), 1, 404),
        (("datasets", "create", "scenes"), 1, 409),
        (("datasets", "create", "a/b"), 1, 422),
        (("datasets", "list", "-n", "1001"), 1, 422),
        (("images", "download", MISSING, "-o", "x.png"), 1, 404),
        (("annotations", "get", MISSING), 1, 404),
        (("train", "status", MISSING), 1, 404),
        (("models", "download", MISSING, "-o", "x.onnx"), 1, 404),
        (("credits", "estimate", "sam3_per_minute", "-q", "0"), 1, 422),
        (("datasets", "list", "--no-such-flag"), 2, None),
        (("train", "start", "scenes"), 2, None),
        (("no-such-command",), 2, None),
    ],
)
def test_exits(
    scenes: Sdk, tmp_path: Path, arguments: tuple[str, ...], code: int, status: int | None
) -> None:
    done = scenes.cli(*(str(tmp_path / a) if a.startswith("x.") else a for a in arguments))
    assert done.returncode == code, (done.stdout, done.stderr)
    if status is not None:
        assert f"status={status}" in re.sub(r"\s*│?\s*\n\s*│?\s*", " ", done.stdout + done.stderr)
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_without_a_key_and_with_a_wrong_one(scenes: Sdk, tmp_path: Path) -> None:
    none = scenes.cli("datasets", "list", PICTOGRAPH_API_KEY="", HOME=str(tmp_path))
    assert none.returncode == 2
    assert scenes.with_key("pk_live_wrong").cli("datasets", "list").returncode == 1
    assert scenes.as_("viewer").cli("datasets", "create", "not mine").returncode == 1
    assert (
        scenes.cli("datasets", "list", "--json", "--api-key", scenes.key, PICTOGRAPH_API_KEY="x").returncode
        == 0
    )


def test_every_command_is_run_here(scenes: Sdk) -> None:
    """What the SDK says its commands are, against what this file calls."""
    commands = scenes.run(
        """
        import typer
        from pictograph.cli._app import app
        groups = typer.main.get_command(app).commands
        return [[n, *([m] if m else [])] for n, g in groups.items() for m in getattr(g, "commands", {"": g})]
        """
    )
    assert len(commands) == 25
    source = Path(__file__).read_text()
    for command in commands:
        assert ", ".join(f'"{word}"' for word in command) in source, command
