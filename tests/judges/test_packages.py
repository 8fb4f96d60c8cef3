"""What hosts install, judged by their own tools: the Claude Code plug-in, the MCP bundle, server.json."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image
from support.agents import installed
from support.cli import Cli

from judges.judge import bundles, run_node
from tintype_server.cli.skill import NAME, skill_path
from tintype_server.mcp import identity

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "plugins" / "tintype"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def bundle(cli: Cli, tmp_path: Path) -> Path:
    cli.ok("agents", "bundle", "--output", str(tmp_path / "out" / "tintype.mcpb"))
    return tmp_path / "out" / "tintype.mcpb"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def claude(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The Claude Code of the agent SDK, without an account or a network."""
    (command,) = (installed() / "lib").glob("python3*/site-packages/claude_agent_sdk/_bundled/claude")
    return subprocess.run(
        [command, *arguments],
        cwd=home,
        env={
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TINTYPE_HOME": str(home / "workspace"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "NO_PROXY": "127.0.0.1",
            "HTTPS_PROXY": "http://127.0.0.1:9",  # nobody is there
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_versions_and_names_are_the_package_s(bundle: Path) -> None:
    server, plugin = read(ROOT / "server.json"), read(PLUGIN / ".claude-plugin" / "plugin.json")
    (package,) = server["packages"]
    told = json.loads(zipfile.ZipFile(bundle).read("manifest.json"))
    versions = {each["version"] for each in (server, package, plugin, told)}
    assert versions == {PROJECT["version"]}
    assert {package["identifier"], plugin["name"], told["name"]} == {PROJECT["name"]}
    assert {plugin["license"], told["license"]} == {PROJECT["license"]}


def test_the_plugin_has_the_skill_as_it_is() -> None:
    assert files_of(PLUGIN / "skills" / NAME) == files_of(skill_path())
    assert (PLUGIN / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.sdk
def test_claude_code_finds_nothing_wrong_with_the_plugin(tmp_path: Path) -> None:
    for path in (PLUGIN, ROOT / ".claude-plugin" / "marketplace.json"):
        done = claude(tmp_path, "plugin", "validate", "--strict", path)
        assert done.returncode == 0, done.stdout + done.stderr
    done = claude(tmp_path, "plugin", "validate", "--profile", "directory", PLUGIN)
    codes = re.findall(r"\(([A-Z][A-Z_]+)\)", done.stdout)
    assert (done.returncode, codes) == (0, []), done.stdout + done.stderr


def test_all_have_the_same_icon(bundle: Path) -> None:
    views = ROOT / "server" / "tintype_server" / "mcp" / "views"
    png = (views / "icon.png").read_bytes()
    assert (PLUGIN / ".claude-plugin" / "icon.png").read_bytes() == png
    archive = zipfile.ZipFile(bundle)
    assert archive.read(json.loads(archive.read("manifest.json"))["icon"]) == png
    (told,) = identity.icons()
    drawing = base64.b64decode(told["src"].removeprefix("data:image/svg+xml;base64,"))
    assert drawing == (views / "icon.svg").read_bytes()
    assert not re.search(rb"script|href|on\w+=|url\(", drawing)
    with Image.open(io.BytesIO(png)) as opened:
        assert (opened.format, opened.size) == ("PNG", (512, 512))
        picture = opened.convert("RGBA")
    # The picture is the drawing's: its ground, its frame, its sun; outside the round corner, nothing.
    seen = [picture.getpixel((8 * x, 8 * y)) for x, y in ((32, 10), (20, 18), (40, 24))]
    for (*rgb, opacity), fill in zip(seen, ("20252b", "d9c3a1", "fbf3e4"), strict=True):
        assert (bytes(rgb).hex(), opacity) == (fill, 255)
        assert fill.encode() in drawing
    assert picture.getpixel((2, 2))[3] == 0


@pytest.mark.sdk
def test_its_judge_sees_a_broken_plugin(tmp_path: Path) -> None:
    (tmp_path / "bad" / ".claude-plugin").mkdir(parents=True)
    (tmp_path / "bad" / ".claude-plugin" / "plugin.json").write_text('{"name": "Not A Name"}')
    assert claude(tmp_path, "plugin", "validate", "--strict", tmp_path / "bad").returncode == 1


@pytest.mark.sdk
def test_claude_code_installs_it_from_the_repository_and_connects(tmp_path: Path) -> None:
    for step in (("marketplace", "add", ROOT), ("install", "tintype@tintype")):
        done = claude(tmp_path, "plugin", *step)
        assert done.returncode == 0, done.stdout + done.stderr
    details = claude(tmp_path, "plugin", "details", "tintype").stdout
    assert re.search(rf"Skills \(1\)\s+{NAME}", details), details
    (skill,) = tmp_path.glob(f".claude/plugins/cache/**/{NAME}/SKILL.md")
    assert files_of(skill.parent) == files_of(skill_path())
    listed = claude(tmp_path, "mcp", "list").stdout
    assert re.search(r"plugin:tintype:tintype: tintype mcp .*Connected", listed), listed


@pytest.mark.sdk
def test_the_bundle_is_one_by_its_own_tool_and_what_it_unpacks_runs(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "unpacked"
    for step in (("unpack", bundle, place), ("validate", place), ("pack", place, tmp_path / "again.mcpb")):
        done = run_node("mcpb", *step, place=bundles())
        assert done.returncode == 0, done.stdout + done.stderr
    manifest = read(place / "manifest.json")
    assert (place / manifest["server"]["entry_point"]).is_file()
    flags = manifest["server"]["mcp_config"]["args"]
    given = [each.replace("${user_config.folder}", str(tmp_path)) for each in flags[flags.index("mcp") :]]
    done = subprocess.run(
        [sys.executable, "-m", "tintype_server", *given],
        env={"PATH": "", "PYTHONPATH": str(place / "src"), "TINTYPE_HOME": str(tmp_path / "workspace")},
        cwd=tmp_path,
        input=json.dumps(INITIALIZE) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = json.loads(done.stdout.splitlines()[0])
    assert answer["result"]["serverInfo"]["version"] == manifest["version"], done.stderr


@pytest.mark.sdk
def test_its_judge_sees_a_broken_bundle(bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads(zipfile.ZipFile(bundle).read("manifest.json"))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"manifest_version": "0.3"}))
    # Servers of type uv came with 0.4.
    assert run_node("mcpb", "validate", tmp_path / "manifest.json", place=bundles()).returncode == 1


def test_the_bundle_needs_what_the_package_needs(bundle: Path, cli: Cli, tmp_path: Path) -> None:
    archive = zipfile.ZipFile(bundle)
    project = tomllib.loads(archive.read("pyproject.toml").decode())["project"]
    for key in ("name", "version", "authors", "license", "keywords", "requires-python", "dependencies"):
        assert project[key] == PROJECT[key]
    names = archive.namelist()
    for floor in ("server", "tools", "studio"):
        have = {each for each in names if each.startswith(f"src/tintype_{floor}/") and each.endswith(".py")}
        top = ROOT / floor
        wanted = {f"src/{path.relative_to(top).as_posix()}" for path in top.rglob("*.py")}
        assert wanted <= have
    assert {
        f"src/tintype_server/mcp/views/{name}" for name in ("approval.html", "host.js", "icon.svg")
    } <= set(names)
    told = cli.json("agents", "bundle", "-o", str(tmp_path / "same.mcpb"))
    assert told == {
        "bundle": str(tmp_path / "same.mcpb"),
        "version": PROJECT["version"],
        "size_bytes": bundle.stat().st_size,
    }
    assert (tmp_path / "same.mcpb").read_bytes() == bundle.read_bytes()


def test_a_bundle_that_cannot_be_written_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    cli.refused("invalid_path", "agents", "bundle", "-o", str(tmp_path / "file" / "tintype.mcpb"))
    (tmp_path / "folder.mcpb" / "mine").mkdir(parents=True)
    assert cli.run("agents", "bundle", "-o", str(tmp_path / "folder.mcpb")).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["file", "folder.mcpb"]


SERVER_RULES: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "name", "description", "version", "packages"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"pattern": r"/schemas/2025-12-11/server\.schema\.json$"},
        "name": {"pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "minLength": 3, "maxLength": 200},
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"pattern": r"^\d+\.\d+\.\d+$"},
        "packages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["registryType", "identifier", "version", "transport"],
                "properties": {
                    "registryType": {"enum": ["pypi"]},
                    "transport": {"const": {"type": "stdio"}},
                    "packageArguments": {
                        "items": {
                            "required": ["type"],
                            "if": {"properties": {"type": {"const": "named"}}},
                            "then": {"required": ["name"]},
                            "else": {"properties": {"type": {"const": "positional"}}, "required": ["value"]},
                        }
                    },
                    "environmentVariables": {"items": {"required": ["name", "description"]}},
                },
            },
        },
    },
}
"""What the MCP registry's schema of 2025-12-11 asks of the parts that we use.

The schema itself is in no package that an offline test could install.
"""


def test_server_json_keeps_the_registry_s_rules() -> None:
    server = read(ROOT / "server.json")
    jsonschema.validate(server, SERVER_RULES)
    for broken in ({"description": "x" * 101}, {"name": "tintype"}, {"version": "^0.1"}, {"extra": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(server | broken, SERVER_RULES)


def test_server_json_names_settings_that_exist(cli: Cli) -> None:
    from dataclasses import fields

    from tintype_server.settings import Settings

    (package,) = read(ROOT / "server.json")["packages"]
    known = {f"TINTYPE_{field.name.upper()}" for field in fields(Settings)}
    assert {each["name"] for each in package["environmentVariables"]} <= known
    told = cli.ok("mcp", "--", "--help")
    assert {each["name"] for each in package["packageArguments"] if each["type"] == "named"} <= set(
        re.findall(r"--[a-z-]+", told)
    )
