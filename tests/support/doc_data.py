"""Blocks of the documentation that are no programs: data, excerpts, a diagram.

Each is compared with the code that it speaks of, so it fails when that changes.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import yaml
from support.doc_blocks import ADDRESS, Block
from support.doc_shell import parse_mcp

from tintype_server.cli.config import HOSTS, snippet
from tintype_server.dispatch import dispatcher
from tintype_server.dispatch.guards import shape
from tintype_server.http import app
from tintype_server.settings import Settings
from tintype_server.telemetry import logs
from tintype_studio.errors import NotFound
from tintype_studio.jobs import kind, run
from tintype_tools import call, spec
from tintype_tools.prediction_shapes import DetectedObject
from tintype_tools.snapshot import load_snapshot


def check_json(block: Block) -> None:
    """A host's configuration, or one of our shapes."""
    data = json.loads(block.code)
    if isinstance(data, list):
        _classes(data, block)
        return
    for key, check in CHECKS.items():
        if key in data:
            check(data, block)
            return
    raise AssertionError(f"{block.place}: no check knows this JSON; see tests/support/doc_data.py")


def _host(data: dict[str, Any], block: Block) -> None:
    """A shape that ``tintype config`` prints with a command of ours, or an address of ours."""
    ((outer, servers),) = data.items()
    ((name, server),) = servers.items()
    printed = [snippet(Settings(home=Path("home")), host, [Path()]) for host in HOSTS]
    assert name == "tintype"
    assert outer in {key for shown in printed for key in shown}
    if "url" in server:
        assert server["type"] == "http"
        assert list(server["headers"]) == ["X-API-Key"]
        assert server["url"].removeprefix(ADDRESS) in {path for path, _ in app_doors()}
        return
    known = {frozenset(shown[outer]["tintype"]) for shown in printed if outer in shown}
    assert frozenset(server) in known
    assert server["command"] == "tintype"
    assert server["args"][0] == "mcp"
    parse_mcp(server["args"][1:])


def app_doors() -> list[tuple[str, str]]:
    """What the server tells of itself: path and purpose."""
    from tintype_server.http.front_page import DOORS

    return list(DOORS.values())


def _error(data: dict[str, Any], block: Block) -> None:
    told = data["error"]
    assert set(told) == set(NotFound("x", fix="y").as_dict())
    assert f'"{told["code"]}"' in inspect.getsource(_studio("catalog.datasets"))


def _cut(data: dict[str, Any], block: Block) -> None:
    source = inspect.getsource(shape)
    for cut in data["_truncated"]["cuts"]:
        assert cut["total"] - cut["shown"] == cut["left_out"]
        assert all(f'"{key}"' in source for key in cut)
    assert all(f'"{key}"' in source for key in data["_truncated"])


def _log_line(data: dict[str, Any], block: Block) -> None:
    source = inspect.getsource(logs.CallLog) + inspect.getsource(logs.JsonLines.format)
    assert set(data) == set(re.findall(r'^ +"(\w+)": ', source, re.MULTILINE))
    assert data["logger"] == logs.CALLS


def _predicted(data: dict[str, Any], block: Block) -> None:
    DetectedObject.model_validate(data)


def _classes(data: list[Any], block: Block) -> None:
    (tool,) = [tool for tool in load_snapshot()["tools"] if tool["name"] == "set_dataset_classes"]
    jsonschema.validate(data, tool["input_schema"]["properties"]["classes"])


CHECKS: Mapping[str, Callable[[dict[str, Any], Block], None]] = {
    "mcpServers": _host,
    "servers": _host,
    "error": _error,
    "_truncated": _cut,
    "call_id": _log_line,
    "object_id": _predicted,
}
"""By a key that the JSON has."""


def check_yaml(block: Block) -> None:
    """The one that there is, for Prometheus: our address, and the way that a key comes to ``/metrics``."""
    (job,) = yaml.safe_load(block.code)["scrape_configs"]
    assert job["authorization"]["type"] == "Bearer"
    assert job["static_configs"] == [{"targets": [urlsplit(ADDRESS).netloc]}]
    assert '"/metrics"' in inspect.getsource(app)


def check_text(block: Block) -> None:
    """The one that there is, the way of a call: it names the guards in their order."""
    named = re.search(r"Dispatcher: (.*?)└─", block.code, re.DOTALL)
    assert named, f"{block.place}: no check knows this text"
    guards = [guard.__name__ for guard in dispatcher.GUARDS]
    assert re.findall(r"\w+", named[1]) == guards


def check_excerpt(block: Block) -> None:
    """Python with gaps: all that it names of ours is there, with these arguments."""
    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            _check_call(node.func.id, {word.arg for word in node.keywords if word.arg}, block)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "run":
            assert hasattr(run.Run, node.attr) or node.attr in inspect.getsource(run.Run), node.attr
        if isinstance(node, ast.ClassDef):
            _check_class(node, block)


def _check_call(name: str, keywords: set[str], block: Block) -> None:
    known = _ours(name)
    if known is not None:
        parameters = inspect.signature(known).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        names = set(getattr(known, "model_fields", ())) | set(parameters)
        assert keywords <= names or (takes_any and not hasattr(known, "model_fields")), (block.place, name)


def _check_class(node: ast.ClassDef, block: Block) -> None:
    base = _ours(ast.unparse(node.bases[0]))
    assert base is not None, block.place
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            theirs = list(inspect.signature(getattr(base, part.name)).parameters)
            assert [argument.arg for argument in part.args.args] == theirs, (block.place, part.name)
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            assert part.targets[0].id in inspect.getsource(base), (block.place, part.targets[0].id)


def _ours(name: str) -> Any:
    for module in (kind, run, spec, call):
        if hasattr(module, name):
            return getattr(module, name)
    return None


def _studio(name: str) -> ModuleType:
    import importlib

    return importlib.import_module(f"tintype_studio.{name}")
