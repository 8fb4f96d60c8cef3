"""Files that come in parts: joined when all are there, never with a hole, for their organization alone."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from support.recordings import drive

from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.snapshots import receiving as receiving_module
from tintype_studio.snapshots import uploads as module
from tintype_studio.snapshots.snapshot import SnapshotStatus, SnapshotType
from tintype_studio.snapshots.uploads import Parts, parts_of
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.uploads import UploadKind
from tintype_studio.studio import Studio

from .conftest import Uploaded, begin, files_of, put, put_all

PART = 1000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", PART)


def waiting(studio: Studio) -> list[str]:
    return [m["path"] for page in obstore.list(studio.blobs.store, prefix="parts") for m in page]


def code_of(work: Callable[[], object], kind: type[Exception] = InvalidInput) -> str:
    with pytest.raises(kind) as refused:
        work()
    error: Any = refused.value
    assert error.fix
    return str(error.code)


def test_parts_of_a_file() -> None:
    assert [parts_of(size) for size in (0, 1, PART, PART + 1, 3 * PART)] == [
        [],
        [1],
        [PART],
        [PART, 1],
        [PART] * 3,
    ]


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 5 * PART + 17])
def test_what_was_put_in_parts_is_there_whole(
    studio: Studio, owner: Principal, uploaded: Any, size: int
) -> None:
    data = os.urandom(size)
    upload = begin(studio, owner, {"x.bin": data})
    etags = put_all(studio, upload, {"x.bin": data}, PART)["x.bin"]
    for n, etag in enumerate(etags):
        assert etag == hashlib.sha256(data[n * PART : (n + 1) * PART]).hexdigest()
    receiving = studio.snapshots.receiving
    file = receiving.join(owner, upload.snapshot.id, "x.bin", dict(enumerate(etags, 1)))
    assert (file.size, file.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert receiving.join(owner, upload.snapshot.id, "x.bin") == file  # again
    snapshot = receiving.finish(owner, upload.snapshot.id)
    assert (snapshot.status, snapshot.type) == (SnapshotStatus.AVAILABLE, SnapshotType.FILES)
    assert studio.blobs.get(file.sha256 or "") == data
    assert waiting(studio) == []


def test_parts_may_come_in_any_order_and_twice(studio: Studio, owner: Principal) -> None:
    data = os.urandom(3 * PART)
    upload = begin(studio, owner, {"x": data})
    tokens = upload.files[0].tokens
    put(studio, tokens[1], b"y" * PART)
    for n in (2, 0, 1):
        put(studio, tokens[n], data[n * PART : (n + 1) * PART])
    file = studio.snapshots.receiving.join(owner, upload.snapshot.id, "x")
    assert studio.blobs.get(file.sha256 or "") == data


def test_a_missing_part_is_told_by_its_number_and_nothing_is_there(studio: Studio, owner: Principal) -> None:
    data = os.urandom(4 * PART)
    upload = begin(studio, owner, {"x.bin": data, "y.bin": b"y"})
    tokens, receiving = upload.files[0].tokens, studio.snapshots.receiving
    etags = {n + 1: put(studio, tokens[n], data[n * PART : (n + 1) * PART]) for n in (0, 2)}
    with pytest.raises(InvalidInput, match="of its 4 parts, 2, 4 are missing") as refused:
        receiving.join(owner, upload.snapshot.id, "x.bin", etags)
    assert refused.value.code == "part_missing"
    assert refused.value.details["missing"] == [2, 4]
    assert code_of(lambda: receiving.finish(owner, upload.snapshot.id)) == "file_missing"
    assert studio.snapshots.get(owner, upload.snapshot.id).status is SnapshotStatus.PENDING
    assert list(studio.blobs.digests()) == []
    with pytest.raises(Conflict, match="pending"):
        studio.snapshots.links(owner, upload.snapshot.id)
    for n in (1, 3):  # the other parts need not be put again
        etags[n + 1] = put(studio, tokens[n], data[n * PART : (n + 1) * PART])
    assert receiving.join(owner, upload.snapshot.id, "x.bin", etags).sha256


def test_an_etag_that_was_not_told_or_is_another_one(studio: Studio, owner: Principal) -> None:
    data = os.urandom(2 * PART)
    upload = begin(studio, owner, {"x": data})
    etags = dict(enumerate(put_all(studio, upload, {"x": data}, PART)["x"], 1))
    join = studio.snapshots.receiving.join
    ref = upload.snapshot.id
    assert code_of(lambda: join(owner, ref, "x", {1: etags[1]})) == "part_missing"
    assert code_of(lambda: join(owner, ref, "x", {1: etags[1], 2: etags[1]})) == "part_mismatch"
    assert list(studio.blobs.digests()) == []
    assert join(owner, ref, "x", {n: f'"{etag.upper()}"' for n, etag in etags.items()}).sha256


def test_a_part_that_changes_while_it_is_joined_is_not_joined(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(2 * PART)
    upload = begin(studio, owner, {"x": data})
    put_all(studio, upload, {"x": data}, PART)
    write = Parts._write

    def raced(self: Parts, *arguments: Any) -> None:
        put(studio, upload.files[0].tokens[1], b"z" * PART)
        write(self, *arguments)

    monkeypatch.setattr(Parts, "_write", raced)
    assert code_of(lambda: studio.snapshots.receiving.join(owner, upload.snapshot.id, "x")) == "part_mismatch"
    assert list(studio.blobs.digests()) == []


@pytest.mark.parametrize(("size", "code"), [(PART - 1, "part_incomplete"), (PART + 1, "part_too_large")])
def test_a_part_of_another_size_is_refused_and_not_kept(
    studio: Studio, owner: Principal, size: int, code: str
) -> None:
    upload = begin(studio, owner, {"x": bytes(PART)})
    kind = TooLarge if code == "part_too_large" else InvalidInput
    assert code_of(lambda: put(studio, upload.files[0].tokens[0], bytes(size)), kind) == code
    assert waiting(studio) == []


def test_links_are_for_their_part_for_a_day_and_cannot_be_made_up(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    token = begin(studio, owner, {"x": b"1"}).files[0].tokens[0]
    of_another_kind = studio.uploads.issue(owner, "x.jpg", UploadKind.IMAGE).token
    for wrong in ("", "a.b", token[:-2], token.swapcase(), of_another_kind):
        assert code_of(lambda wrong=wrong: studio.snapshots.parts.slot(wrong), Forbidden) == "invalid_link"
    move_clock(timedelta(hours=24, seconds=1))
    assert code_of(lambda: studio.snapshots.parts.slot(token), Forbidden) == "invalid_link"


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".", "..", "a\\b", "C:x", "a\0b", "a\nb"),
        *(" a", "a ", "a.", "\u2028", "a/ b/c", "con?", 'a"b', "\ud800", "x" * 256, "/".join(["ab"] * 400)),
    ],
)
def test_hostile_file_names_are_refused(studio: Studio, owner: Principal, path: str) -> None:
    assert code_of(lambda: begin(studio, owner, {path: b"x"})) == "invalid_path"
    assert studio.snapshots.list(owner) == []


def test_names_that_would_be_one_file_are_refused(studio: Studio, owner: Principal) -> None:
    for files in ({"a/b": b"", "A/B": b""}, {"a": b"", "a/b": b""}, {"é": b"", "e\u0301": b""}):
        assert code_of(lambda files=files: begin(studio, owner, files)) == "invalid_path"


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb", "a\0"])
def test_names_of_one_line(studio: Studio, owner: Principal, name: str) -> None:
    assert code_of(lambda: begin(studio, owner, {"x": b""}, name)) == "invalid_name"


def test_sizes_over_the_limits(studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    start = studio.snapshots.receiving.begin
    too_large = receiving_module.MAX_FILE_BYTES + 1
    for files in ([], [("x", -1)], [("x", too_large)], [(f"{n}", 1) for n in range(10_001)]):
        assert code_of(lambda files=files: start(owner, "n", files)) == "invalid_files"
    monkeypatch.setattr(receiving_module, "MAX_WAITING_BYTES", 100)
    start(owner, "n", [("x", 60)])
    assert code_of(lambda: start(owner, "n", [("x", 60)]), Conflict) == "uploads_full"


def test_a_full_disk_is_told_before_anything_comes(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: type("U", (), {"free": 10})())
    assert code_of(lambda: begin(studio, owner, {"x": b"1"}), Unavailable) == "disk_full"
    assert studio.snapshots.list(owner) == []


def test_another_organization_sees_and_touches_nothing(
    studio: Studio, owner: Principal, stranger: Principal, uploaded: Uploaded
) -> None:
    pending, done = begin(studio, owner, {"x": b"1"}), uploaded({"y": b"2"}, "other")
    snapshots = studio.snapshots
    assert snapshots.list(stranger) == []
    for ref in (pending.snapshot.id, done.id, done.wire_id, done.name):
        for work in (
            lambda ref=ref: snapshots.get(stranger, ref),
            lambda ref=ref: snapshots.links(stranger, ref),
            lambda ref=ref: snapshots.delete(stranger, ref),
            lambda ref=ref: snapshots.receiving.join(stranger, ref, "x"),
            lambda ref=ref: snapshots.receiving.finish(stranger, ref),
        ):
            assert code_of(work, NotFound) == "snapshot_not_found"
    assert code_of(lambda: snapshots.of_row(stranger, done.row_id), NotFound) == "snapshot_not_found"


def test_an_upload_that_nobody_finishes_is_given_up_and_its_parts_go(
    studio: Studio, owner: Principal, move_clock: Any, home: Path
) -> None:
    upload = begin(studio, owner, {"x": bytes(2 * PART), "y": b"joined"})
    put(studio, upload.files[1].tokens[0], b"joined")
    studio.snapshots.receiving.join(owner, upload.snapshot.id, "y")
    put(studio, upload.files[0].tokens[0], bytes(PART))
    studio.snapshots.sweep()
    assert len(waiting(studio)) == 1
    move_clock(timedelta(hours=47))
    studio.snapshots.parts._swept = float("-inf")
    studio.snapshots.sweep()
    assert len(waiting(studio)) == 1
    move_clock(timedelta(hours=49))
    studio.snapshots.parts._swept = float("-inf")
    studio.snapshots.sweep()
    assert waiting(studio) == []
    assert not files_of(home / "blobs" / "parts")
    found = studio.snapshots.get(owner, upload.snapshot.id)
    assert found.status is SnapshotStatus.FAILED
    assert "two days" in (found.error_message or "")
    studio.settle()
    assert list(studio.blobs.digests()) == []
    finish = studio.snapshots.receiving.finish
    assert code_of(lambda: finish(owner, found.id), Conflict) == "snapshot_not_pending"


def test_a_deleted_upload_takes_its_parts_with_it(studio: Studio, owner: Principal) -> None:
    upload = begin(studio, owner, {"x": bytes(PART)})
    put(studio, upload.files[0].tokens[0], bytes(PART))
    studio.snapshots.delete(owner, upload.snapshot.id)
    assert waiting(studio) == []
    assert studio.snapshots.list(owner) == []


def test_a_recording_that_was_cut_off_fails_says_why_and_keeps_no_bytes(
    studio: Studio, owner: Principal
) -> None:
    data = drive(count=10)[:20_000]
    upload = begin(studio, owner, {"drive.mcap": data})
    put_all(studio, upload, {"drive.mcap": data}, PART)
    studio.snapshots.receiving.join(owner, upload.snapshot.id, "drive.mcap")
    finish = studio.snapshots.receiving.finish
    assert code_of(lambda: finish(owner, upload.snapshot.id)) == "mcap_truncated"
    found = studio.snapshots.get(owner, upload.snapshot.id)
    assert found.status is SnapshotStatus.FAILED
    assert "cut off" in (found.error_message or "")
    assert code_of(lambda: finish(owner, found.id), Conflict) == "snapshot_not_pending"
    studio.settle()
    assert list(studio.blobs.digests()) == []


JOIN = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.snapshots import uploads
from tintype_studio.studio import Studio, Workspace

home, snapshot, point = sys.argv[1:]
uploads.PART_BYTES = 1000
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))

def die(*_arguments, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "in the middle of the blob":
    real, seen = uploads.Parts._part, []
    def part(self, upload_id, number, name):
        seen.append(number)
        if seen.count(2) == 2:
            die()
        return real(self, upload_id, number, name)
    uploads.Parts._part = part
elif point == "before the row":
    sa.event.listen(studio.database.engine, "commit", die)
elif point == "before the parts go":
    uploads.Parts.discard = die
studio.snapshots.receiving.join(owner, snapshot, "x.bin")
"""


@pytest.mark.parametrize("point", ["in the middle of the blob", "before the row", "before the parts go"])
def test_a_server_killed_while_it_joins_loses_nothing(
    studio: Studio, owner: Principal, spawn: Any, point: str
) -> None:
    data = os.urandom(3 * PART + 5)
    upload = begin(studio, owner, {"x.bin": data})
    put_all(studio, upload, {"x.bin": data}, PART)
    child = spawn(JOIN, upload.snapshot.id, point)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    sha256 = hashlib.sha256(data).hexdigest()
    snapshot = studio.snapshots.get(owner, upload.snapshot.id)
    assert snapshot.files[0].sha256 == (sha256 if point == "before the parts go" else None)
    assert set(studio.blobs.digests()) <= {sha256}  # whole, or not there
    file = studio.snapshots.receiving.join(owner, upload.snapshot.id, "x.bin")
    assert studio.blobs.get(file.sha256 or "") == data
    assert studio.snapshots.receiving.finish(owner, snapshot.id).status is SnapshotStatus.AVAILABLE


def test_parts_on_a_store_without_files(studio: Studio, tmp_path: Path) -> None:
    import asyncio

    from .conftest import in_pieces

    parts = Parts(Blobs("memory:///"), studio.signer)
    data = os.urandom(2 * PART + 1)
    for n, token in enumerate(parts.tokens("an-upload", len(data))):
        asyncio.run(parts.receive(parts.slot(token), in_pieces(data[n * PART : (n + 1) * PART])))
    sha256 = parts.join("an-upload", len(data), "x", None)
    assert parts._blobs.get(sha256) == data
    parts.discard("an-upload")
    assert not list(parts._listed("an-upload"))


def test_bytes_that_were_joined_for_nobody_are_swept(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    data = os.urandom(2 * PART)
    upload = begin(studio, owner, {"x": data})
    put_all(studio, upload, {"x": data}, PART)
    file = upload.files[0]
    studio.snapshots.parts.join(file.upload_id, file.size, "x", None)  # and the caller is gone
    kept = begin(studio, owner, {"y": data}, "kept")
    put_all(studio, kept, {"y": data}, PART)
    studio.settle()
    assert len(list(studio.blobs.digests())) == 1
    studio.snapshots.receiving.join(owner, kept.snapshot.id, "y")
    studio.snapshots.receiving.finish(owner, kept.snapshot.id)
    move_clock(timedelta(days=3))
    studio.settle()
    assert len(list(studio.blobs.digests())) == 1  # another snapshot has the same bytes
    lost = os.urandom(PART)
    upload = begin(studio, owner, {"z": lost})
    put_all(studio, upload, {"z": lost}, PART)
    studio.snapshots.parts.join(upload.files[0].upload_id, PART, "z", None)
    assert len(list(studio.blobs.digests())) == 2
    move_clock(timedelta(days=6))
    studio.settle()
    assert len(list(studio.blobs.digests())) == 1
