"""The stdio door on the raw pipe: fast answers, both eras, and lines that other servers fall silent at."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.pictures import jpeg

from tintype_server.mcp import identity
from tintype_server.mcp.caller import Caller
from tintype_server.mcp.server import build_server
from tintype_server.runtime import Runtime, working_folder_files
from tintype_server.settings import Settings

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "pipe", "version": "1"},
}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "pipe", "version": "1"}}


class Pipe:
    """A client on the bare pipe."""

    def __init__(self, home: Path, cwd: Path, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tintype_server", "mcp", "--home", str(home), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={k: v for k, v in os.environ.items() if not k.startswith("TINTYPE_")},
        )
        self._ids = iter(range(1, 10_000))

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server closed its end"
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, method: str, params: dict[str, Any] | None = None, *, modern: bool = True) -> int:
        number = next(self._ids)
        params = dict(params or {})
        if modern:
            params["_meta"] = {**MODERN, **params.get("_meta", {})}
        self.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())
        return number

    def ask(
        self, method: str, params: dict[str, Any] | None = None, *, modern: bool = True
    ) -> dict[str, Any]:
        number = self.send(method, params, modern=modern)
        while (message := self.read()).get("id") != number:
            pass
        return message

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        value: dict[str, Any] = json.loads(answer["result"]["content"][0]["text"])
        return value

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    opened = Pipe(tmp_path / "home", tmp_path)
    yield opened
    opened.close()


def test_discover_is_answered_before_the_sdk_is_loaded(pipe: Pipe) -> None:
    result = pipe.ask("server/discover")["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["resultType"] == "complete"


def test_a_modern_conversation_that_begins_with_a_call(pipe: Pipe) -> None:
    assert pipe.call("list_datasets") == {"datasets": [], "count": 0}


def test_a_legacy_conversation_gets_one_answer_to_initialize(pipe: Pipe) -> None:
    first = pipe.ask("initialize", HELLO, modern=False)
    pipe.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    listed = pipe.ask("tools/list", modern=False)
    assert first["result"]["protocolVersion"] == "2025-11-25"
    assert "resultType" not in listed["result"]
    called = pipe.send("tools/call", {"name": "list_datasets", "arguments": {}}, modern=False)
    # Were the SDK's own answer to initialize not dropped, it would come before this one.
    assert pipe.read()["id"] == called


def test_initialize_again_after_the_handover_is_answered_by_the_sdk(pipe: Pipe) -> None:
    pipe.ask("initialize", HELLO, modern=False)
    pipe.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    pipe.ask("tools/call", {"name": "list_datasets", "arguments": {}}, modern=False)
    assert "id" in pipe.ask("ping", modern=False)


def test_discover_then_initialize_falls_back_to_the_old_era(pipe: Pipe) -> None:
    pipe.ask("server/discover")
    assert pipe.ask("initialize", HELLO, modern=False)["result"]["protocolVersion"] == "2025-11-25"
    pipe.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    answer = pipe.ask("tools/call", {"name": "list_datasets", "arguments": {}}, modern=False)
    assert not answer["result"].get("isError")


def test_an_unknown_protocol_version_is_offered_the_newest_old_one(pipe: Pipe) -> None:
    hello = {**HELLO, "protocolVersion": "2019-01-01"}
    assert pipe.ask("initialize", hello, modern=False)["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("modern", [True, False])
def test_the_early_answers_are_what_the_sdk_would_say(tmp_path: Path, modern: bool) -> None:
    """The front and the SDK's server must not contradict each other."""
    runtime = Runtime.open(Settings(home=tmp_path / "home"))
    caller = Caller(runtime.local_api_key(), "stdio", working_folder_files(runtime.settings))
    server = build_server(runtime, lambda _request: caller)

    async def ask() -> tuple[Any, Any]:
        from mcp import Client

        async with Client(server, mode="auto" if modern else "legacy") as client:
            info = client.server_info
            return info, await client.list_tools()

    info, listed = asyncio.run(ask())
    pipe = Pipe(tmp_path / "home", tmp_path)
    try:
        if not modern:
            hello = pipe.ask("initialize", HELLO, modern=False)["result"]
            assert hello["serverInfo"] == info.model_dump(by_alias=True, exclude_none=True)
        early = pipe.ask("tools/list", modern=modern)["result"]
    finally:
        pipe.close()
        runtime.close()
    late = listed.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert early["tools"] == late["tools"]
    if modern:
        assert {k: early[k] for k in ("ttlMs", "cacheScope", "resultType")} == {
            k: late[k] for k in ("ttlMs", "cacheScope", "resultType")
        }
    said = server.create_initialization_options().capabilities.model_dump(by_alias=True, exclude_none=True)
    assert said == {**identity.CAPABILITIES, "extensions": {}}


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"this is not json", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list"', -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, None),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
        *(
            (
                b'{"jsonrpc":"2.0","id":79,"method":"tools/call","params":{"name":"list_datasets",'
                b'"arguments":{"a":' + b"[" * depth + b"]" * depth + b"}}}",
                -32600,
                79,
            )
            for depth in (980, 983, 985, 987)
        ),
        (b'{"jsonrpc":"2.0","id":77,"method":5}', -32600, 77),
        (
            b'{"jsonrpc":"2.0","id":78,"method":"tools/call","params":{"name":"get_dataset",'
            b'"arguments":{"name":"\\ud800"}}}',
            -32600,
            78,
        ),
    ],
)
def test_a_broken_line_gets_an_error_and_the_connection_lives(
    pipe: Pipe, line: bytes, code: int, request_id: Any
) -> None:
    pipe.call("list_datasets")
    pipe.write(line)
    answer = pipe.read()
    assert (answer["error"]["code"], answer["id"]) == (code, request_id)
    assert pipe.call("list_datasets") == {"datasets": [], "count": 0}


def test_blank_lines_are_passed_over(pipe: Pipe) -> None:
    pipe.write(b"")
    pipe.write(b"   ")
    assert pipe.call("list_datasets")["count"] == 0


def test_a_file_name_with_broken_bytes_does_not_break_the_pipe(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(jpeg())
    Path(os.fsdecode(bytes(folder) + b"/bad-\xff.jpg")).write_bytes(jpeg(seed=2))
    pipe = Pipe(tmp_path / "home", tmp_path)
    try:
        report = pipe.call("upload_dataset_from_folder", dataset_name="d", folder="pictures")
    finally:
        pipe.close()
    assert report["images_uploaded"] == 1
    assert [f["code"] for f in report["failures"]] == ["invalid_name"]


def test_an_unknown_tool_is_a_protocol_error_with_close_matches(pipe: Pipe) -> None:
    error = pipe.ask("tools/call", {"name": "list_dataset", "arguments": {}})["error"]
    assert error["code"] == -32602
    assert "list_datasets" in error["message"]


def test_missing_arguments_mean_none(pipe: Pipe) -> None:
    answer = pipe.ask("tools/call", {"name": "list_datasets"})
    assert not answer["result"].get("isError")


def test_the_tool_list_has_one_page_and_a_bad_cursor_is_refused(pipe: Pipe) -> None:
    result = pipe.ask("tools/list")["result"]
    assert "nextCursor" not in result
    assert pipe.ask("tools/list", {"cursor": "zzz"})["error"]["code"] == -32602


def test_all_four_hints_and_a_title_stand_on_every_tool(pipe: Pipe) -> None:
    for tool in pipe.ask("tools/list")["result"]["tools"]:
        hints = tool["annotations"]
        assert {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} <= set(hints)
        assert tool["title"]
        assert "outputSchema" not in tool


def test_a_viewer_sees_only_what_it_may_call(tmp_path: Path) -> None:
    runtime = Runtime.open(Settings(home=tmp_path / "home"))
    from tintype_studio.identity.roles import Role

    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    key, _ = runtime.studio.keys.create(owner, name="v", role=Role.VIEWER, toolsets=["datasets"])
    runtime.close()
    pipe = Pipe(tmp_path / "home", tmp_path, "--api-key", key)
    try:
        names = [tool["name"] for tool in pipe.ask("tools/list")["result"]["tools"]]
        answer = pipe.ask("tools/call", {"name": "list_exports", "arguments": {}})
    finally:
        pipe.close()
    assert names == ["get_dataset", "list_dataset_files", "list_datasets", "read_more"]
    assert "toolset_required" in answer["result"]["content"][0]["text"]


def test_progress_comes_for_those_who_ask(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n:02}.jpg").write_bytes(jpeg(seed=n))
    pipe = Pipe(tmp_path / "home", tmp_path)
    try:
        number = pipe.send(
            "tools/call",
            {
                "name": "upload_dataset_from_folder",
                "arguments": {"dataset_name": "d", "folder": "pictures"},
                "_meta": {"progressToken": 0},
            },
        )
        messages = []
        while (message := pipe.read()).get("id") != number:
            messages.append(message)
    finally:
        pipe.close()
    steps = [m["params"] for m in messages if m["method"] == "notifications/progress"]
    assert steps[-1]["progress"] == steps[-1]["total"] == 20
    assert {s["progressToken"] for s in steps} == {0}


def test_a_cancelled_call_stops_and_the_connection_lives(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(1500):
        (folder / f"{n:04}.jpg").write_bytes(jpeg(16, 16, seed=n))
    pipe = Pipe(tmp_path / "home", tmp_path)
    try:
        number = pipe.send(
            "tools/call",
            {
                "name": "upload_dataset_from_folder",
                "arguments": {"dataset_name": "d", "folder": "pictures", "max_workers": 1},
                "_meta": {"progressToken": 1},
            },
        )
        pipe.read()  # the first progress: it runs
        pipe.write(
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/cancelled",
                    "params": {"requestId": number, "_meta": MODERN},
                }
            ).encode()
        )
        counts = [-1, -2]
        while counts[-1] != counts[-2]:
            time.sleep(0.5)
            counts.append(pipe.call("get_dataset", name="d")["image_count"])
    finally:
        pipe.close()
    assert counts[-1] < 1500


def test_the_process_ends_when_the_client_hangs_up(pipe: Pipe) -> None:
    pipe.call("list_datasets")
    assert pipe.process.stdin is not None
    pipe.process.stdin.close()
    assert pipe.process.wait(10) == 0


def test_the_process_ends_though_a_call_ignores_that_the_client_hung_up(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:04}.jpg").write_bytes(jpeg(16, 16, seed=n))
    pipe = Pipe(tmp_path / "home", tmp_path)
    try:
        pipe.call("list_datasets")
        arguments = {"dataset_name": "d", "folder": "pictures", "max_workers": 1}
        pipe.send("tools/call", {"name": "upload_dataset_from_folder", "arguments": arguments})
        assert pipe.process.stdin is not None
        pipe.process.stdin.close()
        assert pipe.process.wait(10) == 0
    finally:
        pipe.close()


def test_nothing_but_the_protocol_stands_on_stdout(pipe: Pipe) -> None:
    pipe.call("create_dataset", name="d")
    assert pipe.process.stdin is not None
    assert pipe.process.stdout is not None
    pipe.process.stdin.close()
    assert pipe.process.stdout.read() == b""


def test_a_wrong_key_is_told_to_the_client(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path / "home", tmp_path, "--api-key", "pk_live_wrong")
    try:
        error = pipe.ask("tools/list")["error"]
        assert pipe.process.wait(10) == 1
    finally:
        pipe.close()
    assert "unknown, revoked or expired" in error["message"]


def test_an_unknown_setting_is_told_to_the_user(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tintype_server", "mcp", "--home", str(tmp_path)],
        input=b"",
        capture_output=True,
        env={**os.environ, "TINTYPE_ROOT": "/"},
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert b"TINTYPE_ROOTS" in result.stderr
