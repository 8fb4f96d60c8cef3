"""``tintype agents`` and ``tintype init``: tools as data, the skill, and a project's AGENTS.md."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from functools import cache
from pathlib import Path

import pytest
from support.cli import Cli, parse

from tintype_server.cli import skill
from tintype_server.cli.init import TEMPLATE
from tintype_server.cli.skill import skill_path
from tintype_tools.snapshot import as_anthropic_tool, as_openai_tool, as_registry_entry, load_snapshot

ROOT = Path(__file__).parents[2]
FLOORS = ("studio", "tools", "server")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """In a project's folder, with a home folder of its own."""
    (tmp_path / "project").mkdir()
    (tmp_path / "me").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    return Cli(tmp_path / "home")


def test_tools_are_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no description is broken into lines
    names = [tool["name"] for tool in load_snapshot()["tools"]]
    assert [line.split()[0] for line in cli.ok("agents", "list-tools").splitlines()[1:]] == names
    assert cli.json("agents", "list-tools") == [as_registry_entry(tool) for tool in load_snapshot()["tools"]]
    assert not cli.home.exists()


@pytest.mark.parametrize(
    ("flags", "shape"),
    [
        ([], as_registry_entry),
        (["--format", "anthropic"], as_anthropic_tool),
        (["--format", "openai"], as_openai_tool),
    ],
)
def test_tools_are_exported(cli: Cli, flags: list[str], shape: object) -> None:
    assert callable(shape)
    wanted = [shape(tool) for tool in load_snapshot()["tools"]]
    assert json.loads(cli.ok("agents", "export-tools", *flags)) == wanted
    assert cli.ok("agents", "export-tools", "-o", "new/tools.json", *flags) == ""
    assert json.loads(Path("new/tools.json").read_text()) == wanted


def test_tools_of_a_toolset_are_exported_over_an_older_file(cli: Cli) -> None:
    Path("tools.json").write_text("old")
    cli.ok("agents", "export-tools", "-o", "tools.json", "--toolset", "credits", "--toolset", "models")
    exported = {tool["name"] for tool in json.loads(Path("tools.json").read_text())}
    wanted = {t["name"] for t in load_snapshot()["tools"] if t["toolset"] in {"credits", "models"}}
    assert exported == wanted
    cli.refused("unknown_toolset", "agents", "export-tools", "--toolset", "nope")


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def ours(target: Path) -> dict[str, bytes]:
    """Without the list of what was installed."""
    return {name: data for name, data in files_of(target).items() if name != ".tintype.json"}


def test_the_skill_goes_to_claude_code_and_replaces_an_older_one(cli: Cli, tmp_path: Path) -> None:
    told = cli.json("agents", "install-skill")
    target = tmp_path / "me" / ".claude" / "skills" / "tintype-cv"
    assert told == {"installed": True, "skill": "tintype-cv", "claude_code_path": str(target)}
    assert ours(target) == files_of(skill_path())
    # As an older version left it.
    digests = json.loads((target / ".tintype.json").read_text())
    for name in ("SKILL.md", "gone.md"):
        (target / name).write_text("older")
        digests[name] = hashlib.sha256(b"older").hexdigest()
    (target / ".tintype.json").write_text(json.dumps(digests))
    cli.ok("agents", "install-skill", "--target", "claude-code")
    assert ours(target) == files_of(skill_path())
    assert [path.name for path in target.parent.iterdir()] == ["tintype-cv"]


@pytest.mark.parametrize("told", ["", "no JSON", "[]"], ids=["of before", "broken", "other"])
def test_what_somebody_put_into_the_skill_or_changed_there_is_kept(
    cli: Cli, tmp_path: Path, told: str
) -> None:
    cli.ok("agents", "install-skill")
    target = tmp_path / "me" / ".claude" / "skills" / "tintype-cv"
    if told:
        (target / ".tintype.json").write_text(told)
    (target / "notes").mkdir()
    (target / "notes" / "mine.md").write_text("mine")
    (target / "mine.md").symlink_to("notes/mine.md")
    for text in ("changed", "changed again"):
        (target / "SKILL.md").write_text(text)
        cli.ok("agents", "install-skill")
    kept = {"notes/mine.md": b"mine", "mine.md": b"mine"}
    kept |= {"SKILL.md.bak": b"changed", "SKILL.md.bak2": b"changed again"}
    assert ours(target) == files_of(skill_path()) | kept
    assert (target / "mine.md").is_symlink()
    cli.ok("agents", "install-skill")
    assert ours(target) == files_of(skill_path()) | kept


def test_a_zip_of_somebody_else_is_not_replaced(cli: Cli) -> None:
    target = Path("tintype-cv.zip")
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("tintype-cv/thesis.tex", "years")
    theirs = target.read_bytes()
    cli.refused("not_a_skill", "agents", "install-skill", "--target", "claude-ai")
    assert target.read_bytes() == theirs
    target.write_bytes(b"no zip")
    cli.refused("not_a_skill", "agents", "install-skill", "--target", "claude-ai")
    assert target.read_bytes() == b"no zip"


def test_the_skill_goes_into_a_zip_for_claude_ai(cli: Cli) -> None:
    told = cli.json("agents", "install-skill", "--target", "claude-ai")
    with zipfile.ZipFile(told["claude_ai_zip"]) as archive:
        packed = {name.removeprefix("tintype-cv/"): archive.read(name) for name in archive.namelist()}
        assert all(name.startswith("tintype-cv/") for name in archive.namelist())
    assert packed == files_of(skill_path())
    first = Path("tintype-cv.zip").read_bytes()
    cli.ok("agents", "install-skill", "--target", "claude-ai")
    assert Path("tintype-cv.zip").read_bytes() == first


def test_the_skill_goes_to_both_into_another_folder(cli: Cli) -> None:
    cli.ok("agents", "install-skill", "--target", "both", "--output", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["tintype-cv", "tintype-cv.zip"]


def test_nothing_but_a_skill_is_replaced(cli: Cli, tmp_path: Path) -> None:
    theirs = Path("out/tintype-cv")
    theirs.mkdir(parents=True)
    (theirs / "thesis.tex").write_text("years")
    cli.refused("not_a_skill", "agents", "install-skill", "--output", "out")
    assert files_of(theirs) == {"thesis.tex": b"years"}
    shutil.rmtree(theirs)
    theirs.symlink_to(tmp_path)
    cli.refused("not_a_skill", "agents", "install-skill", "--output", "out")
    assert cli.run("agents", "install-skill", "--target", "nobody").exit_code == 2


def test_a_skill_that_is_not_there_is_told(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skill, "__file__", str(tmp_path / "a/b/c/skill.py"))
    cli.refused("skill_not_found", "agents", "install-skill")


def test_an_installed_skill_lies_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "tintype_server" / "skills" / "tintype-cv"
    shutil.copytree(skill_path(), installed)
    monkeypatch.setattr(skill, "__file__", str(tmp_path / "tintype_server" / "cli" / "skill.py"))
    assert skill_path() == installed


def test_init_writes_a_file_and_never_over_another(cli: Cli) -> None:
    assert cli.json("init") == {"written": "AGENTS.md"}
    assert Path("AGENTS.md").read_bytes() == TEMPLATE.read_bytes()
    Path("AGENTS.md").write_text("mine")
    cli.refused("file_exists", "init")
    assert Path("AGENTS.md").read_text() == "mine"
    cli.ok("init", "--force")
    assert Path("AGENTS.md").read_bytes() == TEMPLATE.read_bytes()
    cli.ok("init", "-o", "docs/CLAUDE.md")
    assert Path("docs/CLAUDE.md").read_bytes() == TEMPLATE.read_bytes()
    Path("sub").mkdir()
    cli.ok("init", "-o", "sub")
    assert Path("sub/AGENTS.md").exists()
    assert not cli.home.exists()


def test_init_does_not_follow_a_link_that_leads_nowhere(cli: Cli, tmp_path: Path) -> None:
    Path("AGENTS.md").symlink_to(tmp_path / "elsewhere.md")
    cli.refused("file_exists", "init")
    assert not (tmp_path / "elsewhere.md").exists()


@pytest.mark.parametrize("page", [TEMPLATE, *sorted(skill_path().rglob("*.md"))], ids=lambda p: p.name)
def test_commands_and_tools_that_agents_are_told_of_exist(page: Path) -> None:
    text = page.read_text()
    commands = re.findall(r"`tintype ([^`]*)`", text)
    for block in re.findall(r"```bash\n(.*?)```", text, re.S):
        commands += [
            line.removeprefix("tintype ") for line in block.splitlines() if line.startswith("tintype ")
        ]
    assert commands or page.parent.name == "references"
    for command in commands:
        words = command.split(" > ")[0].split(" | ")[0].replace("TOOL", "list_datasets")
        # What only names a command has no arguments.
        parse(words if len(words.split()) > 2 else f"{words} --help")
    for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text):
        assert f'"{name}"' in known_words(), name


@cache
def known_words() -> str:
    """The registry, which has the names of tools and fields, and the code, which has those of errors."""
    sources = [path.read_text() for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]
    return json.dumps(load_snapshot()) + "".join(sources)
