"""Blobs: kept once, named by their content, whole or not there."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import pytest

from tintype_studio.errors import NotFound, Unavailable
from tintype_studio.storage.blobs import CHUNK, Blobs, blob_key

DATA = b"the bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()
ABSENT = "0" * 64


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def stored_files(blobs: Blobs) -> list[Path]:
    return [p for p in Path(str(blobs.store.prefix)).rglob("*") if p.is_file()]


def test_what_was_put_is_got_by_its_digest(blobs: Blobs) -> None:
    assert blobs.put(DATA) == DIGEST
    assert blobs.get(DIGEST) == DATA
    assert blobs.size(DIGEST) == len(DATA)
    assert blobs.exists(DIGEST)


def test_equal_bytes_are_kept_once(blobs: Blobs) -> None:
    assert blobs.put(DATA) == blobs.put(DATA)
    assert len(stored_files(blobs)) == 1


def test_sixteen_threads_put_the_same_bytes_at_once(blobs: Blobs) -> None:
    data = bytes(200_000)
    barrier, digests = threading.Barrier(16), []

    def put() -> None:
        barrier.wait()
        digests.append(blobs.put(data))

    threads = [threading.Thread(target=put) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [hashlib.sha256(data).hexdigest()] * 16
    assert [p.read_bytes() for p in stored_files(blobs)] == [data]


def test_a_file_is_stored_whole_from_its_start(blobs: Blobs) -> None:
    data = b"x" * (2 * CHUNK + 17)
    file = io.BytesIO(data)
    file.seek(100)
    assert blobs.put_file(file) == (hashlib.sha256(data).hexdigest(), len(data))
    assert blobs.get(hashlib.sha256(data).hexdigest()) == data


def test_an_empty_file_can_be_stored(blobs: Blobs) -> None:
    digest, size = blobs.put_file(io.BytesIO())
    assert (blobs.get(digest), size) == (b"", 0)


def test_a_stream_gives_the_bytes_in_several_chunks(blobs: Blobs) -> None:
    data = bytes(range(256)) * (3 * CHUNK // 256)
    chunks = list(blobs.stream(blobs.put(data)))
    assert len(chunks) > 1
    assert b"".join(chunks) == data


def test_absent_bytes_are_not_found_by_any_way(blobs: Blobs) -> None:
    for ask in (blobs.get, blobs.size, lambda d: list(blobs.stream(d))):
        with pytest.raises(NotFound) as caught:
            ask(ABSENT)
        assert caught.value.code == "blob_missing"
    assert not blobs.exists(ABSENT)


def test_all_digests_are_listed(blobs: Blobs) -> None:
    put = {blobs.put(bytes([n])) for n in range(20)}
    assert set(blobs.digests()) == put


def test_a_deleted_blob_is_gone(blobs: Blobs) -> None:
    blobs.delete(blobs.put(DATA))
    assert not blobs.exists(DIGEST)
    assert list(blobs.digests()) == []


def test_derived_bytes_stand_apart_from_blobs(blobs: Blobs) -> None:
    blobs.put_derived("thumbnail/a.jpg", DATA)
    assert blobs.get_derived("thumbnail/a.jpg") == DATA
    assert blobs.get_derived("thumbnail/b.jpg") is None
    assert list(blobs.digests()) == []


def test_a_half_written_file_of_a_dead_process_is_not_a_blob_and_blocks_nothing(blobs: Blobs) -> None:
    blobs.put(DATA)
    whole = next(p for p in stored_files(blobs))
    blobs.delete(DIGEST)
    whole.parent.mkdir(parents=True, exist_ok=True)
    whole.with_name(f"{DIGEST}#1").write_bytes(DATA[:3])
    assert not blobs.exists(DIGEST)
    assert list(blobs.digests()) == []
    assert blobs.get(blobs.put(DATA)) == DATA


def test_a_store_that_refuses_the_bytes_is_a_retryable_error_without_its_path(
    blobs: Blobs, tmp_path: Path
) -> None:
    (tmp_path / "blobs" / "sha256").write_text("a file where the folder should be")
    with pytest.raises(Unavailable) as caught:
        blobs.put(DATA)
    assert (caught.value.code, caught.value.retryable) == ("storage_failed", True)
    assert str(tmp_path) not in str(caught.value.as_dict())


FILLS_THE_DISK = """
import resource, sys
from pathlib import Path
from tintype_studio.errors import Unavailable
from tintype_studio.storage.blobs import Blobs

blobs = Blobs(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    blobs.put(b"y" * 1_000_000)
except Unavailable as error:
    print(error.code, list(blobs.digests()), flush=True)
"""


def test_a_disk_that_fills_up_inside_a_blob_leaves_no_blob(spawn: Any) -> None:
    answer, _ = spawn(FILLS_THE_DISK).communicate(timeout=30)
    assert answer.strip() == "storage_failed []"


def test_keys_spread_over_folders_and_end_in_the_digest() -> None:
    keys = [blob_key(hashlib.sha256(bytes([n])).hexdigest()) for n in range(256)]
    assert len(set(keys)) == 256
    assert len({key.rpartition("/")[0] for key in keys}) > 100
    assert blob_key(DIGEST).endswith(f"/{DIGEST}")


def test_what_is_derived_is_removed_by_the_folders_of_its_key(blobs: Blobs) -> None:
    for key in ("training/a/1.pt", "training/a/2.pt", "training/ab/1.pt", "thumbnails/a"):
        blobs.put_derived(key, key.encode())
    blobs.delete_derived_under("training/a")
    blobs.delete_derived_under("training/nothing")
    assert blobs.get_derived("training/a/1.pt") is blobs.get_derived("training/a/2.pt") is None
    assert blobs.get_derived("training/ab/1.pt") == b"training/ab/1.pt"
    assert blobs.get_derived("thumbnails/a") == b"thumbnails/a"
