"""The skill: what Claude reads of it is well formed, its links lead somewhere, its scripts run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli

from tintype_server.cli.skill import NAME, skill_path
from tintype_server.cli.skill_page import tools_page
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_tools.snapshot import load_snapshot

SKILL = skill_path()
ALLOWED = {"name", "description", "license", "allowed-tools", "metadata", "compatibility"}
"""Keys of the frontmatter that claude.ai takes."""
LONGEST_PAGE = 500
"""Lines of SKILL.md: all of it is read whenever the skill is used."""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def run(cli: Cli, script: str, *flags: str) -> tuple[int, Any, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, str(SKILL / "scripts" / script), *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "TINTYPE_HOME": str(cli.home), "PATH": path},
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_the_frontmatter_is_what_claude_takes() -> None:
    text = (SKILL / "SKILL.md").read_text()
    _, front, body = text.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.strip().splitlines())
    assert set(fields) <= ALLOWED
    assert fields["name"] == NAME == SKILL.name
    assert re.fullmatch("[a-z0-9-]{1,64}", fields["name"])
    assert 100 < len(fields["description"]) <= 1024
    assert not set("<>") & set(fields["description"])
    assert len(body.splitlines()) <= LONGEST_PAGE


@pytest.mark.parametrize("page", sorted(SKILL.rglob("*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        assert (page.parent / link).is_file(), link


def test_every_page_and_script_is_mentioned() -> None:
    text = (SKILL / "SKILL.md").read_text()
    for file in (*SKILL.glob("references/*.md"), *SKILL.glob("scripts/*.py")):
        assert str(file.relative_to(SKILL)) in text or file.name == "tintype_command.py", file


def test_the_table_of_tools_comes_from_the_registry() -> None:
    assert (SKILL / "references" / "tools.md").read_text() == tools_page(load_snapshot())


def test_the_examples_of_annotations_are_good() -> None:
    (example,) = re.findall(
        r"```json\n(.*?)```", (SKILL / "references" / "annotation-format.md").read_text(), re.S
    )
    kinds = [each.type for each in ANNOTATIONS.validate_json(example)]
    assert kinds == ["bbox", "polygon", "polyline", "keypoint"]


def test_an_export_is_made_and_saved(cli: Cli, folder_of_pictures: Path, tmp_path: Path) -> None:
    cli.ok("datasets", "upload", "road", str(folder_of_pictures))
    flags = ("--dataset", "road", "--name", "v1", "--format", "coco", "--status-filter", "all")
    code, told, errors = run(cli, "export.py", *flags, "--output", str(tmp_path / "o.zip"))
    assert (code, errors, told["export"]["image_count"]) == (0, "", 3)
    assert zipfile.ZipFile(tmp_path / "o.zip").testzip() is None
    code, told, errors = run(cli, "export.py", *flags, "--output", str(tmp_path / "p.zip"))
    assert (code, "export_exists" in errors, "error" in told) == (1, True, True)


def test_a_folder_is_uploaded_and_what_nobody_can_label_is_told(cli: Cli, folder_of_pictures: Path) -> None:
    flags = ("--dataset", "road", "--folder", str(folder_of_pictures))
    code, told, errors = run(cli, "upload_and_annotate.py", *flags)
    assert (code, told["upload"]["images_uploaded"]) == (0, 3), errors
    code, told, errors = run(cli, "upload_and_annotate.py", *flags, "--classes", "stop:bbox")
    assert (code, "(needs_engine)" in errors) == (1, True), (told, errors)


def test_a_pipeline_reports_its_upload(cli: Cli, folder_of_pictures: Path) -> None:
    flags = ("--dataset", "road", "--folder", str(folder_of_pictures), "--classes", "stop:bbox")
    code, told, errors = run(cli, "full_pipeline.py", *flags, "--no-annotate", "--no-train")
    assert (code, told["upload"]["images_uploaded"]) == (0, 3), (told, errors)


@pytest.mark.parametrize("script", ["export.py", "upload_and_annotate.py", "full_pipeline.py"])
def test_a_script_that_is_called_wrongly_is_exit_code_2(cli: Cli, script: str) -> None:
    code, told, errors = run(cli, script)
    assert (code, told) == (2, None)
    assert "usage" in errors
    assert not cli.home.exists()


def test_classes_are_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SKILL / "scripts"))
    import tintype_command

    assert tintype_command.classes_of("sign, line:polygon,a:b:bbox") == [
        {"name": "sign", "output_type": "bbox"},
        {"name": "line", "output_type": "polygon"},
        {"name": "a:b", "output_type": "bbox"},
    ]
    with pytest.raises(SystemExit):
        tintype_command.classes_of("sign:circle")
