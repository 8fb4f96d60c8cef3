"""Files on their way in: whole or not there, for their organization alone, and gone after a day."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tintype_studio import clock
from tintype_studio.errors import Forbidden, InvalidInput, NotFound, TooLarge
from tintype_studio.identity.keys import Principal
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
