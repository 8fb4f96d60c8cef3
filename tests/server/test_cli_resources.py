"""Commands of datasets, images, annotations, exports, models and credits: what they do, print and refuse."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli
from support.onnx_models import blob_detector
from support.pictures import jpeg
from support.ready_models import add_model

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.vision.tasks import Signature, Task

BOX = {"id": "b", "type": "bbox", "name": "stop", "bounding_box": {"x": 1.0, "y": 2.0, "w": 10.0, "h": 8.0}}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def road(cli: Cli, folder_of_pictures: Path) -> list[dict[str, Any]]:
    """The images of a dataset ``road``."""
    cli.ok("datasets", "upload", "road", str(folder_of_pictures))
    images: list[dict[str, Any]] = cli.json("images", "list", "road")
    return images


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps([BOX]))
    return file


def test_datasets_are_made_listed_looked_at_and_deleted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    made = cli.json("datasets", "create", "road", "-d", "Signs")
    assert (made["name"], made["description"]) == ("road", "Signs")
    assert [each["name"] for each in cli.json("datasets", "list")] == ["road"]
    titles, row = cli.ok("datasets", "list").splitlines()
    assert titles.split() == ["name", "id", "images", "completed", "annotations", "size"]
    assert row.split() == ["road", made["id"], "0", "0", "0", "0", "bytes"]
    assert cli.json("datasets", "get", "road")["id"] == made["id"]
    assert f"id                     {made['id']}\n" in cli.ok("datasets", "get", "road")
    assert cli.json("datasets", "delete", "road", "--yes") == {
        "deleted": True,
        "name": "road",
        "images_deleted": 0,
        "annotations_deleted": 0,
    }
    cli.refused("dataset_not_found", "datasets", "get", "road")


def test_a_deletion_without_a_word_is_refused_and_says_how(cli: Cli) -> None:
    cli.ok("datasets", "create", "road")
    lines = cli.refused("confirmation_required", "datasets", "delete", "road")
    assert "--yes" in lines[-1]
    assert cli.json("datasets", "list")


def test_a_deletion_tells_how_to_undo_it(cli: Cli) -> None:
    cli.ok("datasets", "create", "road")
    undo = cli.run("datasets", "delete", "road", "-y").stderr.removeprefix("undo: tintype ").split()
    cli.ok(*undo)
    assert [each["name"] for each in cli.json("datasets", "list")] == ["road"]


def test_a_person_at_a_terminal_is_asked(cli: Cli) -> None:
    cli.ok("datasets", "create", "road")
    command = [sys.executable, "-m", "tintype_server", "--home", str(cli.home), "datasets", "delete", "road"]
    for answer, code in (("n\n", 1), ("y\n", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
        os.close(ours)
        os.close(theirs)
        assert (done.returncode, "needs confirmation" in done.stderr) == (code, True)
    assert cli.json("datasets", "list") == []


def test_a_dry_run_changes_nothing(cli: Cli) -> None:
    assert json.loads(cli.ok("datasets", "create", "road", "--dry-run"))["dry_run"] is True
    assert cli.json("datasets", "list") == []


def test_a_repeated_command_with_its_key_happens_once(cli: Cli) -> None:
    first = cli.json("datasets", "create", "road", "--idempotency-key", "k")
    again = cli.run("datasets", "create", "road", "--idempotency-key", "k", "--json")
    assert json.loads(again.stdout) == first
    assert again.stderr.startswith("replayed: ")


def test_a_folder_is_uploaded_and_bad_files_are_named(cli: Cli, folder_of_pictures: Path) -> None:
    (folder_of_pictures / "z.jpg").write_bytes(b"no picture")
    result = cli.run("datasets", "upload", "road", str(folder_of_pictures), "--json")
    assert (result.exit_code, json.loads(result.stdout)["images_uploaded"]) == (1, 3)
    assert result.stderr.startswith("failed: ")
    assert "z.jpg" in result.stderr
    table = cli.ok("images", "list", "road")
    assert [line.split()[2] for line in table.splitlines()[1:]] == ["a.jpg", "b.jpg", "c.jpg"]
    with_images = cli.json("datasets", "get", "road", "--include-images", "--images-limit", "2")
    assert [image["filename"] for image in with_images["images"]] == ["a.jpg", "b.jpg"]
    assert "b.jpg" in cli.ok("datasets", "get", "road", "-I")


def test_an_image_comes_back_as_it_went(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "p.jpg"
    picture.write_bytes(jpeg(seed=5))
    cli.ok("datasets", "create", "road")
    image = cli.json("images", "upload", "road", str(picture), "--folder", "/cars")
    assert image["folder"] == "/cars"
    out = tmp_path / "new" / "out.jpg"
    told = cli.json("images", "download", image["id"], "-o", str(out))
    assert told == {"image_id": image["id"], "output_path": str(out), "size_bytes": len(jpeg(seed=5))}
    assert out.read_bytes() == jpeg(seed=5)


def test_a_download_replaces_only_what_it_may(cli: Cli, road: list[dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "out.jpg"
    out.write_text("mine")
    cli.refused("file_exists", "images", "download", road[0]["id"], "-o", str(out))
    assert out.read_text() == "mine"
    cli.ok("images", "download", road[0]["id"], "-o", str(out), "--overwrite")
    assert out.read_bytes() == jpeg(seed=1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    cli.refused("path_not_allowed", "images", "download", road[0]["id"], "-o", str(cli.home / "x.jpg"))


def test_an_image_is_deleted(cli: Cli, road: list[dict[str, Any]]) -> None:
    undone = cli.run("images", "delete", road[0]["id"], "-y")
    assert "undo_call" in undone.stderr
    assert "undo" not in cli.run("images", "delete", road[1]["id"], "-y", "--permanent").stderr
    assert [image["filename"] for image in cli.json("images", "list", "road")] == ["c.jpg"]
    cli.refused("image_not_found", "images", "delete", road[1]["id"], "-y")


def test_annotations_go_there_and_back(cli: Cli, road: list[dict[str, Any]], labels: Path) -> None:
    image = road[0]["id"]
    saved = cli.json("annotations", "save", image, "--file", str(labels))
    assert (saved["previous_count"], saved["new_count"], saved["status"]) == (0, 1, "complete")
    got = cli.ok("annotations", "get", image, "--json")
    assert [each["name"] for each in json.loads(got)] == ["stop"]
    assert "stop  bbox  1, 2, 10, 8" in cli.ok("annotations", "get", image)
    again = json.loads(cli.ok("annotations", "save", image, "-f", "-", "--json", text=got))
    assert (again["previous_count"], again["new_count"]) == (1, 1)
    assert cli.json("annotations", "get", image) == json.loads(got)
    cli.refused("confirmation_required", "annotations", "delete", image)
    assert cli.json("annotations", "delete", image, "--yes") == {"image_id": image, "deleted_count": 1}
    assert cli.json("annotations", "get", image) == []


@pytest.mark.parametrize(
    ("content", "code"), [("{", 1), ("{}", 2), ('[{"name": 3}]', 1), ("[" * 100_000, 1), (None, 1)]
)
def test_bad_annotations_are_refused_and_nothing_is_lost(
    cli: Cli, road: list[dict[str, Any]], labels: Path, content: str | None, code: int
) -> None:
    cli.ok("annotations", "save", road[0]["id"], "-f", str(labels))
    if content is None:
        labels.unlink()
    else:
        labels.write_text(content)
    result = cli.run("annotations", "save", road[0]["id"], "-f", str(labels))
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    assert len(cli.json("annotations", "get", road[0]["id"])) == 1


def test_a_dataset_is_downloaded(cli: Cli, road: list[dict[str, Any]], labels: Path, tmp_path: Path) -> None:
    night = tmp_path / "night" / "stop"
    night.mkdir(parents=True)
    (night / "a.jpg").write_bytes(jpeg(seed=9))
    cli.ok("datasets", "upload", "road", str(night.parent))
    cli.ok("annotations", "save", road[0]["id"], "-f", str(labels))
    out = tmp_path / "dump"
    told = cli.json("datasets", "download", "road", "-o", str(out), "--workers", "3")
    assert (told["images_downloaded"], told["annotations_downloaded"], told["failures"]) == (4, 4, 0)
    names = ["a.jpg", "b.jpg", "c.jpg", "stop__a.jpg"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, *(f"{n}.json" for n in names)])
    assert (out / "a.jpg").read_bytes() == jpeg(seed=1)
    assert (out / "stop__a.jpg").read_bytes() == jpeg(seed=9)
    assert json.loads((out / "a.jpg.json").read_text()) == cli.json("annotations", "get", road[0]["id"])
    assert json.loads((out / "b.jpg.json").read_text()) == []


@pytest.mark.parametrize(("mode", "images", "texts"), [("images_only", 3, 0), ("annotations_only", 0, 3)])
def test_half_a_dataset_is_downloaded(
    cli: Cli, road: list[dict[str, Any]], tmp_path: Path, mode: str, images: int, texts: int
) -> None:
    told = cli.json("datasets", "download", "road", "-o", str(tmp_path / "d"), "--mode", mode)
    assert (told["images_downloaded"], told["annotations_downloaded"]) == (images, texts)
    assert len(list((tmp_path / "d").iterdir())) == 3


def test_only_images_of_a_status_are_downloaded(
    cli: Cli, road: list[dict[str, Any]], labels: Path, tmp_path: Path
) -> None:
    cli.ok("annotations", "save", road[1]["id"], "-f", str(labels))
    cli.ok("datasets", "download", "road", "-o", str(tmp_path / "d"), "--status", "complete")
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["b.jpg", "b.jpg.json"]


def test_a_second_download_goes_on_and_loses_nothing(
    cli: Cli, road: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "dump"
    cli.ok("datasets", "download", "road", "-o", str(out))
    (out / "a.jpg.json").write_text("my notes")
    (out / "b.jpg").unlink()
    result = cli.run("datasets", "download", "road", "-o", str(out), "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["images_downloaded"], told["failures"]) == (1, 3, 1)
    assert "a.jpg.json" in result.stderr
    assert ((out / "a.jpg.json").read_text(), (out / "b.jpg").read_bytes()) == ("my notes", jpeg(seed=2))
    cli.ok("datasets", "download", "road", "-o", str(out), "--overwrite")
    assert (out / "a.jpg.json").read_text() == "[]"


def test_pages_of_a_download_are_read_to_the_end(
    cli: Cli, road: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tintype_server.cli.downloading.PAGE", 2)
    assert cli.json("datasets", "download", "road", "-o", str(tmp_path / "d"))["images_downloaded"] == 3


def test_a_key_with_a_small_budget_downloads_all(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(jpeg(seed=number, width=16, height=16))
    cli.ok("datasets", "upload", "many", str(folder))
    made = ("keys", "create", "--role", "viewer", "--name", "v", "--max-response-tokens", "500")
    key = json.loads(cli.ok(*made, "--json"))["api_key"]
    out = tmp_path / "d"
    told = cli.json("datasets", "download", "many", "-o", str(out), "--api-key", key)
    assert told["images_downloaded"] == 12
    listed = cli.run("images", "list", "many", "--api-key", key)
    assert "cut to this key's response budget" in listed.stderr


def test_a_missing_dataset_makes_no_folder(cli: Cli, tmp_path: Path) -> None:
    cli.refused("dataset_not_found", "datasets", "download", "nowhere", "-o", str(tmp_path / "d"))
    assert not (tmp_path / "d").exists()
    (tmp_path / "file").write_text("x")
    cli.ok("datasets", "create", "road")
    assert cli.run("datasets", "download", "road", "-o", str(tmp_path / "file")).exit_code == 2
    cli.refused("invalid_path", "datasets", "download", "road", "-o", str(tmp_path / "file" / "below"))


def test_exports_are_made_listed_downloaded_and_deleted(
    cli: Cli, road: list[dict[str, Any]], labels: Path, tmp_path: Path
) -> None:
    cli.ok("annotations", "save", road[0]["id"], "-f", str(labels))
    made = cli.json("exports", "create", "road", "first", "--format", "coco", "--no-images")
    assert (made["status"], made["format"], made["image_count"]) == ("completed", "coco", 1)
    assert [each["name"] for each in cli.json("exports", "list", "--dataset", "road")] == ["first"]
    assert "first" in cli.ok("exports", "list")
    assert cli.json("exports", "get", "road", "first")["id"] == made["id"]
    assert "coco" in cli.ok("exports", "get", "road", "first")
    out = tmp_path / "new" / "first.zip"
    told = cli.json("exports", "download", "road", "first", "-o", str(out))
    assert hashlib.sha256(out.read_bytes()).hexdigest() == told["sha256"]
    assert zipfile.ZipFile(out).testzip() is None
    cli.refused("export_exists", "exports", "create", "road", "first")
    cli.refused("confirmation_required", "exports", "delete", "road", "first")
    assert cli.json("exports", "delete", "road", "first", "-y")["deleted"] is True
    cli.refused("export_not_found", "exports", "download", "road", "first", "-o", str(tmp_path / "n" / "x"))
    assert not (tmp_path / "n").exists()


def test_an_export_goes_in_again_as_a_job(
    cli: Cli, road: list[dict[str, Any]], labels: Path, tmp_path: Path
) -> None:
    """In processes of their own: the worker that the waiting command starts does the job."""
    cli.ok("annotations", "save", road[0]["id"], "-f", str(labels))
    cli.ok("exports", "create", "road", "all", "--format", "coco", "--status", "all")
    cli.ok("exports", "download", "road", "all", "-o", str(tmp_path / "all.zip"))
    left = cli.process("datasets", "import", "copy", str(tmp_path / "all.zip"), "--no-wait", "--json")
    assert left.returncode == 0, left.stderr
    job = json.loads(left.stdout)["job"]
    assert job["status"] in {"queued", "running"}
    assert f"--job-id {job['job_id']}" in left.stderr
    done = cli.process("datasets", "import", "again", str(tmp_path / "all.zip"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["job"]["status"], told["images_added"], told["annotations_added"]) == ("completed", 3, 1)
    assert done.stderr == ""


@pytest.fixture
def model(cli: Cli) -> str:
    studio = open_studio(Settings(home=cli.home))
    owner = studio.keys.authenticate(saved_api_key(cli.home))
    signature = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
    dataset = studio.datasets.create(owner, name="yard")
    made = add_model(studio, owner, dataset, signature, blob_detector(signature))
    studio.close()
    return made.id


def test_models_are_listed_downloaded_and_archived(cli: Cli, model: str, tmp_path: Path) -> None:
    assert [each["id"] for each in cli.json("models", "list")] == [model]
    assert model in cli.ok("models", "list")
    assert cli.json("models", "list", "--status", "failed") == []
    assert model in json.dumps(cli.json("models", "get", model))
    assert "yolox" in cli.ok("models", "get", model)
    out = tmp_path / "new" / "m.onnx"
    told = cli.json("models", "download", model, "-o", str(out))
    assert (told["model_id"], told["size_bytes"]) == (model, out.stat().st_size)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == told["sha256"]
    assert "undo_call" in cli.run("models", "delete", model, "--yes").stderr
    assert cli.json("models", "list") == []
    cli.refused("model_not_found", "models", "download", "x", "-o", str(tmp_path / "x"))


def test_credits_are_told_estimated_and_granted(cli: Cli) -> None:
    before = cli.json("credits", "balance")["credits_remaining"]
    told = cli.json("credits", "estimate", "training_a10g_per_minute", "-q", "30")
    assert (told["total_credits"], told["sufficient"]) == (300, True)
    assert "total_credits      300" in cli.ok("credits", "estimate", "training_a10g_per_minute", "-q", "30")
    assert cli.json("credits", "grant", "5")["amount"] == 5
    assert cli.json("credits", "balance")["credits_remaining"] == before + 5
    assert [each["amount"] for each in cli.json("credits", "history", "--limit", "1")] == [5]


def test_the_key_may_stand_in_the_command(cli: Cli) -> None:
    viewer = json.loads(cli.ok("keys", "create", "--role", "viewer", "--name", "v", "--json"))["api_key"]
    cli.refused("role_required", "datasets", "create", "x", "--api-key", viewer)
    cli.refused("missing_key", "datasets", "list", "--api-key", "")
    cli.refused("invalid_key", "datasets", "list", "--api-key", "pk_live_wrong")
    assert cli.json("datasets", "list", "--api-key", viewer) == []
    assert cli.run("--api-key", viewer, "datasets", "create", "x").exit_code == 1
    owner = saved_api_key(cli.home) or ""
    assert cli.run("--api-key", viewer, "datasets", "create", "x", "--api-key", owner).exit_code == 0


def test_commands_are_on_record(cli: Cli) -> None:
    cli.ok("datasets", "create", "road")
    rows = [json.loads(line) for line in cli.ok("audit", "--json").splitlines()]
    assert [(row["tool"], row["door"], row["agent"]) for row in rows] == [
        ("create_dataset", "cli", "tintype cli")
    ]


def test_what_strangers_wrote_is_not_obeyed(cli: Cli) -> None:
    evil = "a\x1b[2J\u202e\U000e0041"
    cli.ok("datasets", "create", "road", "-d", evil)
    shown = cli.ok("datasets", "get", "road") + cli.ok("datasets", "get", "road", "--json")
    assert not set("\x1b\u202e\U000e0041") & set(shown)
    assert cli.json("datasets", "get", "road")["description"] == evil


GROUPS = [
    ("images", "list", "road"),
    ("annotations", "get", "{image}"),
    ("train", "list"),
    ("models", "list"),
    ("credits", "balance"),
    ("agents", "list-tools"),
]


def test_each_further_group_runs_as_a_process(cli: Cli, road: list[dict[str, Any]]) -> None:
    def run(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return cli.process(*(word.format(image=road[0]["id"]) for word in words), "--json")

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(run, GROUPS):
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            json.loads(done.stdout)
