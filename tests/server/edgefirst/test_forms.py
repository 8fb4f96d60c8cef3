"""Forms: fields and files in any order, streamed to disk, within limits, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.edgefirst_rpc import Spoken, open_spoken

from tintype_server.edgefirst import forms
from tintype_server.edgefirst.methods import FORMS, FormFile, Rpc

BOUNDARY = "b"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("forms") / "home") as opened:
        yield opened


@pytest.fixture
def told(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spoken]:
    """With the form ``echo``, which tells what came; in the end nothing of it is left."""

    async def echo(_rpc: Rpc, fields: Mapping[str, str], files: list[FormFile]) -> Any:
        assert all(file.path.stat().st_size == file.size for file in files)
        return {
            "fields": dict(fields),
            "files": [[file.name, file.path.read_bytes().decode("latin-1")] for file in files],
        }

    monkeypatch.setitem(FORMS, "task.echo", echo)
    yield spoken
    assert list(Path(spoken.rest.runtime.studio.home, "tmp").glob("form-*")) == []


def raw(spoken: Spoken, body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Any:
    headers = {"Authorization": f"Bearer {spoken.token('owner')}", "Content-Type": content_type}
    response = spoken.rest.client.post("/edgefirst/api?method=task.echo", content=body, headers=headers)
    assert response.status_code == 200
    return response.json()


def part(disposition: str, data: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def test_fields_and_files_in_any_order(told: Spoken) -> None:
    body = (
        part('name="file"; filename="artifacts/ä b.onnx"', b"one")
        + part('name="params"', b'{"session_id": 7}')
        + part('name="file"; filename="empty"', b"")
        + part('name="folder"', "Köln".encode())
        + END
    )
    assert raw(told, body)["result"] == {
        "fields": {"params": '{"session_id": 7}', "folder": "Köln"},
        "files": [["artifacts/ä b.onnx", "one"], ["empty", ""]],
    }


def test_large_files_come_whole(told: Spoken) -> None:
    data = bytes(range(256)) * 20_000
    answer = told.form("task.echo", {"a": "1"}, [("file", ("x", data)), ("file", ("y", data[::-1]))])
    assert [body.encode("latin-1") for _, body in answer["result"]["files"]] == [data, data[::-1]]


def test_names_are_told_and_never_used_as_paths(told: Spoken) -> None:
    body = part('name="file"; filename="../../etc/x"', b"1") + END
    assert raw(told, body)["result"]["files"] == [["../../etc/x", "1"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        END[:-4],
        part('name="a"', b"1"),
        part('name="file"; filename="f"', b"1"),
        part('name="file"; filename="f"', b"1")[:-4],
        b"--b\r\nbroken header\r\n\r\n1\r\n--b--\r\n",
        b"--b\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n1\r\n--b--\r\n",
    ],
)
def test_forms_that_are_broken_or_stop(told: Spoken, body: bytes) -> None:
    error = raw(told, body)["error"]
    assert error["code"] == 3
    assert error["data"]["code"] in {"invalid_form", "upload_incomplete"}


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/mixed; boundary=b"])
def test_what_calls_itself_no_form(told: Spoken, kind: str) -> None:
    assert raw(told, END, kind)["error"]["data"]["code"] == "invalid_form"


def test_limits(told: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(body: bytes) -> bool:
        error = raw(told, body)["error"]
        return bool((error["code"], error["data"]["code"]) == (413, "form_too_large"))

    monkeypatch.setattr(forms, "MAX_FIELDS", 2)
    monkeypatch.setattr(forms, "MAX_FIELD_BYTES", 100)
    monkeypatch.setattr(forms, "MAX_FILES", 2)
    monkeypatch.setattr(forms, "MAX_BYTES", 1000)
    file = 'name="file"; filename="f"'
    assert refused(b"".join(part(f'name="f{n}"', b"1") for n in range(3)) + END)
    assert refused(part('name="f"', b"1" * 101) + END)
    assert refused(part(file, b"1") * 3 + END)
    assert refused(part(file, b"1" * 600) * 2 + END)
    assert refused(part(file, b"1" * 5000) + END)
    assert raw(told, part(file, b"1" * 500) * 2 + END)["result"]


def test_a_full_disk(told: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "FREE_BYTES", 2**62)
    error = raw(told, part('name="file"; filename="f"', b"1") + END)["error"]
    assert (error["code"], error["data"]["code"]) == (10, "disk_full")


def test_a_handler_that_fails_leaves_no_file(told: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_rpc: Rpc, _fields: Mapping[str, str], _files: list[FormFile]) -> Any:
        raise RuntimeError

    monkeypatch.setitem(FORMS, "task.echo", fails)
    assert raw(told, part('name="file"; filename="f"', b"1") + END)["error"]["code"] == 10
