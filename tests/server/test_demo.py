"""``tintype demo`` end to end: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from support.pictures import scene


def demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tintype_server", "demo", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The demo on the photographs that the package carries; CI has just run it, as a user does."""
    if done := os.environ.get("DEMO_DONE"):
        return (Path(done) / "demo.txt").read_text(), Path(done) / "tintype-demo"
    base = tmp_path_factory.mktemp("demo")
    result = demo(cwd=base)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout, base / "tintype-demo"


def test_it_does_the_main_job(told: tuple[str, Path]) -> None:
    out = told[1]
    with zipfile.ZipFile(out / "demo-coco.zip") as archive:
        coco = json.loads(archive.read("annotations.json"))
        pictures = [n for n in archive.namelist() if n.startswith("images/")]
    assert len(coco["images"]) == len(pictures) >= 6
    assert len(coco["annotations"]) >= len(coco["images"])
    assert all(a["area"] > 100 for a in coco["annotations"])
    with zipfile.ZipFile(out / "demo-yolo.zip") as archive:
        assert "data.yaml" in archive.namelist()


def test_it_keeps_what_the_agent_saw(told: tuple[str, Path]) -> None:
    previews = list((told[1] / "previews").iterdir())
    seen = [p for p in previews if not p.name.startswith(("unseen", "training"))]
    assert len(seen) >= 6
    assert all(300 <= max(Image.open(p).size) <= 640 for p in seen)


def test_it_trains_a_model_that_finds_what_it_never_saw(told: tuple[str, Path]) -> None:
    found = re.search(r"the model found (\d+) of (\d+) signs .* with (\d+)\s+boxes", told[0], re.DOTALL)
    assert found is not None, told[0]
    right, there, boxes = map(int, found.groups())
    assert right >= 0.7 * there
    assert boxes <= 1.5 * there
    drawn = list((told[1] / "previews").glob("unseen-*"))
    assert len(drawn) == 6
    assert (told[1] / "previews" / "training-curves.png").exists()


def test_it_shows_the_guards_at_work(told: tuple[str, Path]) -> None:
    text = told[0]
    for shown in ("(replayed)", "idempotency_conflict", "role_required", "key_cap_reached", "read_more"):
        assert shown in text
    assert "confirmation_required" in text
    assert '"undone":' in text
    assert '"images_uploaded": 0, "images_skipped": 6' in text


def test_it_works_on_a_folder_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "one.png").write_bytes(scene())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    result = demo(str(folder), "--out", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Nobody pointed out the objects" in result.stdout
    assert '"images_uploaded": 1' in result.stdout
    assert (tmp_path / "out" / "previews" / "one.png").exists() or (
        tmp_path / "out" / "previews" / "one.jpg"
    ).exists()
    again = demo(str(folder), "--out", "out", cwd=tmp_path)
    assert again.returncode == 0


def test_it_touches_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    result = demo("--out", "precious", cwd=tmp_path)
    assert result.returncode == 1
    assert "folder_not_empty" in result.stderr
    assert (tmp_path / "precious" / "file").read_text() == "x"


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = demo("empty", cwd=tmp_path)
    assert result.returncode == 1
    assert_refused(result, "no_pictures")


def assert_refused(result: subprocess.CompletedProcess[str], code: str) -> None:
    """Exit code 1 and two lines, of which the first ends with the code."""
    assert result.returncode == 1
    error, fix = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert error.endswith(f"({code})")
    assert fix.startswith("fix: ")


@pytest.mark.parametrize("folder", ["tintype-demo/mine", "tintype-demo", "tintype-demo/home", "way/in/mine"])
def test_pictures_inside_the_output_folder_are_refused_and_kept(tmp_path: Path, folder: str) -> None:
    out = tmp_path / "tintype-demo"
    for name in ("mine", "home"):
        (out / name).mkdir(parents=True)
        (out / name / "a.png").write_bytes(scene())
    (out / ".tintype-demo").touch()
    (tmp_path / "way").mkdir()
    (tmp_path / "way" / "in").symlink_to(out)
    before = sorted(p.relative_to(out) for p in out.rglob("*"))
    assert_refused(demo(folder, cwd=tmp_path), "folder_inside_output")
    assert sorted(p.relative_to(out) for p in out.rglob("*")) == before
    assert (out / "mine" / "a.png").read_bytes() == scene()


def test_a_second_run_removes_only_what_the_demo_made(tmp_path: Path) -> None:
    """Names that carry markup, braces and emoji codes are shown as they are, meanwhile."""
    names = ["[bold]", "{task}", "~[/[/b]"]
    for number, name in enumerate(names):
        (tmp_path / "[/red]" / name).mkdir(parents=True)
        (tmp_path / "[/red]" / name / f"b]:car:{number}.png").write_bytes(scene())
    out = tmp_path / "[/out]"
    (out / "home").mkdir(parents=True)
    (out / ".tintype-demo").touch()
    (out / "kept").mkdir()
    (out / "kept" / "a.png").write_bytes(scene())
    (out / "home" / "stale").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    (out / "previews").symlink_to(tmp_path / "elsewhere")
    (out / "demo-coco.zip").write_bytes(b"stale")
    result = demo("[/red]", "--out", "[/out]", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "/[/red]" in result.stdout
    assert 'image_filename="[bold]/b]:car:0.png"' in result.stdout
    assert "~[/[/b]/b]:car:2.png" in result.stdout, "the progress bar names the last file"
    assert (out / "kept" / "a.png").exists()
    assert not (out / "home" / "stale").exists()
    assert (tmp_path / "elsewhere" / "precious").exists()
    assert zipfile.is_zipfile(out / "demo-coco.zip")
    assert len(list((out / "previews").iterdir())) == 3


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    for out in ("out", "out/further"):
        assert_refused(demo("--out", out, cwd=tmp_path), "output_unusable")
    assert (tmp_path / "out").read_text() == "x"


@pytest.mark.parametrize("content", ["{", '{"images": []}', "[1]", '[{"file": "a.png"}]', "\x00"])
def test_labels_of_another_kind_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(scene())
    (tmp_path / "mine" / "labels.json").write_text(content)
    assert_refused(demo("mine", cwd=tmp_path), "invalid_labels")


def test_labels_that_point_at_nothing_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(scene())
    (tmp_path / "mine" / "labels.json").write_text("[]")
    result = demo("mine", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "key_cap_reached" in result.stdout
