"""Every kind of bad file in a folder: reported by name, and the rest is uploaded."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from support.uploads import codes, numbers, places

from tintype_studio.catalog import ingest
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def good(picture: Any) -> dict[str, bytes]:
    return {"a.jpg": picture(1), "stop/b.jpg": picture(2), "z.jpg": picture(3)}


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few hundred bytes that promises ``side`` times ``side`` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bad_files(picture: Any) -> dict[str, tuple[bytes, str]]:
    """Relative path → (content, expected code)."""
    jpeg = picture(7, size=(64, 64))
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated_image"),
        "cut by a few bytes.jpg": (jpeg[:-20], "truncated_image"),
        "text.jpg": (b"this is no picture\n" * 50, "invalid_image"),
        "empty.jpg": (b"", "empty_file"),
        "bomb.png": (bomb(), "decompression_bomb"),
        "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        "50%.jpg": (jpeg, "invalid_name"),
        "a#b.jpg": (jpeg, "invalid_name"),
        "what?.jpg": (jpeg, "invalid_name"),
        "new\nline.jpg": (jpeg, "invalid_name"),
        "per%cent/a.jpg": (jpeg, "invalid_name"),
        "blank .jpg/ b.jpg": (jpeg, "invalid_name"),
    }


def test_every_bad_file_is_reported_and_the_rest_is_uploaded(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    good: Any,
    picture: Any,
    check_counters: Any,
) -> None:
    bad = bad_files(picture)
    report = studio.ingest.add_folder(
        owner, dataset, folder(good | {path: data for path, (data, _) in bad.items()})
    )
    assert codes(report) == {path: code for path, (_, code) in bad.items()}
    assert all(failure.reason for failure in report.failures)
    assert numbers(report) == (3 + len(bad), 3, 0, len(bad))
    assert set(places(studio, dataset)) == {"/a.jpg", "/stop/b.jpg", "/z.jpg"}
    check_counters(studio, owner, dataset.name)


def expect_one_failure(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    root: Path,
    path: str,
    code: str,
    **options: Any,
) -> None:
    report = studio.ingest.add_folder(owner, dataset, root, **options)
    assert codes(report) == {path: code}
    assert set(places(studio, dataset)) == {"/a.jpg", "/stop/b.jpg", "/z.jpg"}
    assert str(root.parent) not in report.failures[0].reason


def test_a_huge_file_is_refused_unread(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, picture: Any
) -> None:
    """64 GiB on paper (a sparse file): reading it would be noticed."""
    root = folder(good | {"stop/51.jpg": picture(), "stop/huge.jpg": picture()})
    os.truncate(root / "stop" / "51.jpg", 51 << 20)
    os.truncate(root / "stop" / "huge.jpg", 64 << 30)
    report = studio.ingest.add_folder(owner, dataset, root)
    assert codes(report) == {"stop/51.jpg": "file_too_large", "stop/huge.jpg": "file_too_large"}
    assert ["51.0 MiB" in report.failures[0].reason, "65536.0 MiB" in report.failures[1].reason] == [
        True,
        True,
    ]
    assert numbers(report) == (5, 3, 0, 2)


def test_a_link_that_leads_outside_is_refused(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, picture: Any, tmp_path: Path
) -> None:
    root = folder(good)
    (tmp_path / "secret.jpg").write_bytes(picture(8))
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    expect_one_failure(
        studio,
        owner,
        dataset,
        root,
        "link.jpg",
        "path_not_allowed",
        allowed=lambda p: p.is_relative_to(root.resolve()),
    )


def test_a_link_that_stays_inside_is_followed(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any
) -> None:
    root = folder(good)
    (root / "link.jpg").symlink_to("stop/b.jpg")
    report = studio.ingest.add_folder(
        owner, dataset, root, allowed=lambda p: p.is_relative_to(root.resolve())
    )
    assert numbers(report) == (4, 4, 0, 0)


def test_folders_behind_links_are_not_entered(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any
) -> None:
    root = folder(good)
    (root / "round").symlink_to(root)
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (3, 3, 0, 1)


@pytest.mark.parametrize("target", ["nowhere.jpg", "loop.jpg"])
def test_a_link_to_nothing_is_reported(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, target: str
) -> None:
    root = folder(good)
    (root / "loop.jpg").symlink_to(target)
    expect_one_failure(studio, owner, dataset, root, "loop.jpg", "file_not_found")


def test_a_fifo_is_reported_and_does_not_block(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any
) -> None:
    root = folder(good)
    os.mkfifo(root / "pipe.jpg")
    expect_one_failure(studio, owner, dataset, root, "pipe.jpg", "file_not_found")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose read fails")
def test_a_file_whose_read_fails_is_reported(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any
) -> None:
    """The first page of a process's memory can be opened but not read: EIO, even for root."""
    root = folder(good)
    (root / "broken.jpg").symlink_to("/proc/self/mem")
    expect_one_failure(studio, owner, dataset, root, "broken.jpg", "unreadable")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_reported(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, picture: Any
) -> None:
    root = folder(good | {"closed.jpg": picture()})
    (root / "closed.jpg").chmod(0)
    expect_one_failure(studio, owner, dataset, root, "closed.jpg", "unreadable")


def test_a_subfolder_that_vanishes_during_the_upload_is_reported(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "BATCH", 1)
    root = folder({f"{name}/{name}.jpg": picture() for name in "abc"})

    def progress(_done: int, _total: int, name: str) -> None:
        if name == "a/a.jpg":
            shutil.rmtree(root / "b")

    report = studio.ingest.add_folder(owner, dataset, root, progress=progress)
    assert codes(report) == {"b/": "unreadable"}
    assert set(places(studio, dataset)) == {"/a/a.jpg", "/c/c.jpg"}


def test_a_name_of_bytes_that_are_no_text_is_reported(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, picture: Any
) -> None:
    root = folder(good)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.jpg")).write_bytes(picture())
    report = studio.ingest.add_folder(owner, dataset, root)
    assert [(f.path.encode(), f.code) for f in report.failures] == [(b"??.jpg", "invalid_name")]
    assert numbers(report) == (4, 3, 0, 1)
