"""``tintype demo`` end to end: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
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
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The demo on the photographs that the package carries."""
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
    assert len(previews) >= 6
    assert all(300 <= max(Image.open(p).size) <= 640 for p in previews)


def test_it_shows_the_guards_at_work(told: tuple[str, Path]) -> None:
    text = told[0]
    for shown in ("(replayed)", "idempotency_conflict", "role_required", "key_cap_reached", "read_more"):
        assert shown in text
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
    assert "no_pictures" in result.stderr
