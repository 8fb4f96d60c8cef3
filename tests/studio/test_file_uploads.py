"""Files on their way in: whole or not there, for their organization alone, and gone after a day."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.storage import uploads as module
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.uploads import KEEP, PART, Slot, UploadKind, Uploads
from tintype_studio.studio import Studio

PIECE = 1 << 20


class HungUp(Exception):
    """The sender went away."""


@pytest.fixture(params=["folder", "memory"])
def uploads(studio: Studio, tmp_path: Path, request: pytest.FixtureRequest) -> Uploads:
    """On a local folder, and on a store that has no files."""
    url = "memory:///" if request.param == "memory" else str(tmp_path / "elsewhere")
    return Uploads(Blobs(url), studio.signer, tmp_path)


async def in_pieces(data: bytes, *, fail: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
    if fail:
        raise HungUp


def put(uploads: Uploads, token: str, data: bytes, *, fail: bool = False) -> int:
    return asyncio.run(uploads.receive(uploads.slot(token), in_pieces(data, fail=fail)))


def everything(uploads: Uploads) -> list[str]:
    import obstore

    kept = [meta["path"] for page in obstore.list(uploads._store) for meta in page]
    here = uploads._local("")
    return kept if here is None else [str(p.relative_to(here)) for p in here.rglob("*") if p.is_file()]


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 17])
def test_what_was_put_is_taken_up_whole(uploads: Uploads, owner: Principal, size: int) -> None:
    data = os.urandom(size)
    ticket = uploads.issue(owner, "straße 1.jpg", UploadKind.IMAGE)
    assert put(uploads, ticket.token, data) == size
    assert uploads.size(owner, ticket.path) == size
    assert uploads.read(owner, ticket.path, max_bytes=size) == data
    with uploads.open(owner, ticket.path) as path:
        assert path.read_bytes() == data
    assert ticket.path.endswith("/straße 1.jpg")


def test_the_path_says_whose_it_is(uploads: Uploads, owner: Principal, stranger: Principal) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    put(uploads, ticket.token, b"x")
    _, _, random, name = ticket.path.split("/")
    for who, path in [
        (stranger, ticket.path),
        (stranger, f"uploads/{stranger.organization_uuid}/{random}/{name}"),
        (owner, f"uploads/{owner.organization_uuid}/../{owner.organization_uuid}/{random}/{name}"),
        (owner, ticket.path.rpartition("/")[0]),
        (owner, "sha256/ab/" + "ab" * 32),
        (owner, ""),
    ]:
        with pytest.raises(NotFound):
            uploads.size(who, path)
        with pytest.raises(NotFound):
            uploads.read(who, path, max_bytes=10)
        with pytest.raises(NotFound), uploads.open(who, path):
            pass
    with pytest.raises(NotFound):
        uploads.discard(stranger, ticket.path)
    assert uploads.size(owner, ticket.path) == 1


@pytest.mark.parametrize("size", [10, 2 * PART + 5])
def test_what_breaks_off_leaves_nothing(uploads: Uploads, owner: Principal, size: int) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    with pytest.raises(HungUp):
        put(uploads, ticket.token, bytes(size), fail=True)
    assert everything(uploads) == []


@pytest.mark.parametrize("limit", [100, 2 * PART])
def test_a_file_over_the_limit_leaves_nothing(uploads: Uploads, owner: Principal, limit: int) -> None:
    key = uploads.slot(uploads.issue(owner, "a.jpg", UploadKind.IMAGE).token).key
    with pytest.raises(TooLarge) as refused:
        asyncio.run(uploads.receive(Slot(key, limit), in_pieces(bytes(limit + 1))))
    assert refused.value.code == "file_too_large"
    assert everything(uploads) == []


def test_a_second_file_replaces_the_first(uploads: Uploads, owner: Principal) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    put(uploads, ticket.token, bytes(2 * PART))
    put(uploads, ticket.token, b"second")
    assert uploads.read(owner, ticket.path, max_bytes=10) == b"second"
    with pytest.raises(HungUp):
        put(uploads, ticket.token, bytes(2 * PART), fail=True)
    assert uploads.read(owner, ticket.path, max_bytes=10) == b"second"


def test_a_large_one_is_not_read_into_memory(uploads: Uploads, owner: Principal) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.VIDEO)
    put(uploads, ticket.token, bytes(11))
    with pytest.raises(TooLarge):
        uploads.read(owner, ticket.path, max_bytes=10)


def test_links_expire_and_cannot_be_made_up(
    uploads: Uploads, owner: Principal, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    others = studio.signer.token({"op": "get", "sha": "0" * 64}, 60)
    for token in ("", "x", "a.b", ticket.token[:-2], others):
        with pytest.raises(Forbidden):
            uploads.slot(token)
    later = clock.now() + timedelta(minutes=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(Forbidden):
        uploads.slot(ticket.token)


@pytest.mark.parametrize("name", ["", "a/b.jpg", "..", "a?b.jpg", "x" * 256, "a\nb.jpg"])
def test_a_name_that_no_file_can_have_gets_no_link(uploads: Uploads, owner: Principal, name: str) -> None:
    with pytest.raises(InvalidInput):
        uploads.issue(owner, name, UploadKind.IMAGE)


def test_what_was_taken_up_is_discarded_once(uploads: Uploads, owner: Principal) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    put(uploads, ticket.token, b"x")
    uploads.discard(owner, ticket.path)
    uploads.discard(owner, ticket.path)
    assert everything(uploads) == []


def test_a_rehearsal_discards_nothing(studio: Studio, owner: Principal) -> None:
    ticket = studio.uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    put(studio.uploads, ticket.token, b"x")
    with studio.database.unit_of_work(rehearsal=True):
        studio.uploads.discard(owner, ticket.path)
    assert studio.uploads.size(owner, ticket.path) == 1


def test_what_nobody_takes_up_goes_after_a_day(
    uploads: Uploads, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = uploads.issue(owner, "a.jpg", UploadKind.IMAGE)
    put(uploads, ticket.token, b"x")
    here = uploads._local("uploads")
    if here is not None:  # what a killed process was writing
        (here / owner.organization_uuid / "half#1").write_bytes(b"x")
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + KEEP - timedelta(minutes=1))
    assert uploads.sweep() == 0
    monkeypatch.setattr(clock, "now", lambda: now + KEEP + timedelta(minutes=1))
    assert uploads.sweep() == 0  # it has just looked
    assert uploads.sweep(now=True) == (1 if here is None else 2)
    assert everything(uploads) == []


def test_a_blob_outlives_the_sweep(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = studio.blobs.put(b"kept")
    later = clock.now() + 10 * KEEP
    monkeypatch.setattr(clock, "now", lambda: later)
    studio.uploads.sweep(now=True)
    assert studio.blobs.get(digest) == b"kept"


def test_what_waits_of_one_organization_is_limited(
    uploads: Uploads, owner: Principal, stranger: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 3 * PART)
    first, second, late = (uploads.issue(owner, "a.mp4", UploadKind.VIDEO) for _ in range(3))
    put(uploads, first.token, bytes(2 * PART))
    put(uploads, second.token, bytes(PART))
    for deed in (
        lambda: uploads.issue(owner, "b.mp4", UploadKind.VIDEO),
        lambda: put(uploads, late.token, bytes(PART)),
    ):
        with pytest.raises(Conflict) as refused:
            deed()
        assert refused.value.code == "uploads_full"
    assert len(everything(uploads)) == 2
    theirs = uploads.issue(stranger, "b.mp4", UploadKind.VIDEO)
    assert put(uploads, theirs.token, bytes(PART)) == PART
    uploads.discard(owner, first.path)
    assert put(uploads, late.token, bytes(PART)) == PART


def test_files_that_come_in_together_are_counted(
    studio: Studio, owner: Principal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(Blobs(str(tmp_path / "elsewhere")), studio.signer, tmp_path)
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 3 * PART)
    monkeypatch.setattr(module, "CHECKED_BYTES", PART)
    tokens = [uploads.issue(owner, "a.mp4", UploadKind.VIDEO).token for _ in range(4)]

    async def slowly() -> AsyncIterator[bytes]:
        async for piece in in_pieces(bytes(5 * PART)):
            await asyncio.sleep(0)
            yield piece

    async def together() -> list[int | BaseException]:
        coming = [uploads.receive(uploads.slot(token), slowly()) for token in tokens]
        return await asyncio.gather(*coming, return_exceptions=True)

    ended = asyncio.run(together())
    assert any(isinstance(each, Conflict) for each in ended)
    assert len(everything(uploads)) == sum(each == 5 * PART for each in ended) < 4


def test_no_link_when_the_disk_is_full(
    studio: Studio, owner: Principal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(Blobs(str(tmp_path / "elsewhere")), studio.signer, tmp_path)
    ticket = uploads.issue(owner, "a.mp4", UploadKind.VIDEO)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=module.FREE_BYTES - 1))
    for kind in UploadKind:
        with pytest.raises(Unavailable) as refused:
            uploads.issue(owner, "a.mp4", kind)
        assert refused.value.code == "disk_full"
    with pytest.raises(Unavailable):
        put(uploads, ticket.token, bytes(PART))
    assert everything(uploads) == []
