"""The index completes itself: after a crash, in the background, beside others, and by searches."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.identity.keys import Principal
from tintype_studio.search import indexer as indexing
from tintype_studio.search import looks, service, vector_store
from tintype_studio.search.scope import Scope
from tintype_studio.storage.search_tables import search_entries, search_tags, search_vectors
from tintype_studio.studio import Studio

UPLOADS = """
import sys
from pathlib import Path
from tintype_studio.studio import Studio, Workspace
from tintype_studio.identity.bootstrap import saved_api_key

home, folder, index = sys.argv[1:]
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))
studio.ingest.add_folder(owner, studio.datasets.get_or_create(owner, "signs"), Path(folder))
print("uploaded", flush=True)
if index == "yes":
    from tintype_studio.search import indexer
    indexer.BATCH = 3
    seen = 0
    def check():
        global seen
        seen += 1
        if seen == 8:
            print("half", flush=True)
            sys.stdin.read()
    studio.search.indexer.catch_up(check=check)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "_LOOKS", (0.1, 0.3))


def rows(studio: Studio, table: sa.Table) -> int:
    with studio.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def until(deed: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not deed():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.mark.parametrize(("index", "done"), [("no", 0), ("yes", 6)])
def test_what_a_killed_process_had_not_indexed_is_indexed_by_the_next_one(
    spawn: Any, home: Any, folder: Any, picture: Any, open_studio: Any, index: str, done: int
) -> None:
    root = folder({f"{i}.jpg": picture(seed=i, size=(40, 30)) for i in range(20)})
    child = spawn(UPLOADS, root, index)
    assert child.stdout.readline() == "uploaded\n"
    if index == "yes":
        assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    studio = open_studio()
    assert (rows(studio, search_entries), studio.search.indexer.missing()) == (done, 20 - done)
    studio.search.indexer.start()
    until(lambda: studio.search.indexer.missing() == 0)
    assert rows(studio, search_entries) == rows(studio, search_vectors) == 20


def test_the_background_takes_up_every_upload(gallery: Any, photos: dict[str, Any]) -> None:
    gallery.studio.search.indexer.start()
    for name, pixels in photos.items():
        gallery.add(pixels, f"{name}.jpg")
    until(lambda: rows(gallery.studio, search_entries) == len(photos))
    gallery.add(photos["cat"], "again.jpg")
    until(lambda: rows(gallery.studio, search_entries) == len(photos) + 1)


def test_the_background_rests_while_images_come_in(gallery: Any, photos: dict[str, Any]) -> None:
    indexer = gallery.studio.search.indexer
    with indexer.uploading():
        time.sleep(0.4)
        gallery.add(photos["cat"], "cat.jpg")
        indexer.start()
        time.sleep(0.6)
        assert indexer.missing() == 1
    until(lambda: indexer.missing() == 0)


def test_the_background_gets_on_while_single_images_keep_coming(
    gallery: Any, photos: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_SHORT_UPLOAD_SECONDS", 0)
    for number in range(12):
        gallery.add(photos["cat"], f"{number}.jpg", quality=50 + number)
    indexer = gallery.studio.search.indexer
    indexer.start()
    deadline, number = time.monotonic() + 20, 0
    while rows(gallery.studio, search_entries) < 12:
        assert time.monotonic() < deadline, "it did not get on"
        gallery.add(photos["coins"], f"more{number}.jpg", quality=40 + number % 60)
        number += 1
        time.sleep(0.15)


def test_closing_does_not_wait_for_the_rest(gallery: Any, photos: dict[str, Any]) -> None:
    for number in range(12):
        gallery.add(photos["cat"], f"{number}.jpg", quality=50 + number)
    indexer, looked = gallery.studio.search.indexer, threading.Event()
    look = indexer._look

    def slow(image: Any) -> Any:
        looked.set()
        time.sleep(0.2)
        return look(image)

    indexer._look = slow
    indexer.start()
    assert looked.wait(10)
    started = time.monotonic()
    gallery.studio.close()
    assert time.monotonic() - started < 1.5


def test_a_failing_disk_does_not_end_the_background(
    gallery: Any, photos: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    indexer = gallery.studio.search.indexer
    failed = threading.Event()

    def full(_looks: Any) -> None:
        failed.set()
        raise OSError("no space left")

    monkeypatch.setattr(indexer, "_write", full)
    gallery.add(photos["cat"], "cat.jpg")
    indexer.start()
    assert failed.wait(10)
    monkeypatch.undo()
    indexer.wake()
    until(lambda: indexer.missing() == 0)


def test_only_one_process_indexes_in_the_background(
    gallery: Any, photos: dict[str, Any], open_studio: Any
) -> None:
    import fcntl

    folder = gallery.studio.home / "search"
    folder.mkdir(exist_ok=True)
    gallery.add(photos["cat"], "cat.jpg")
    with (folder / "indexer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another process holds it
        gallery.studio.search.indexer.start()
        time.sleep(0.6)
        assert gallery.studio.search.indexer.missing() == 1
    gallery.studio.search.indexer.wake()
    until(lambda: gallery.studio.search.indexer.missing() == 0)


def test_many_who_index_at_once_make_each_row_once(
    gallery: Any, photos: dict[str, Any], open_studio: Any
) -> None:
    for number, pixels in enumerate([*photos.values()] * 4):
        gallery.add(pixels, f"{number}.jpg", quality=50 + number)
    studios = [open_studio() for _ in range(3)]
    errors: list[BaseException] = []

    def work(studio: Studio) -> None:
        try:
            studio.search.indexer.catch_up()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(s,)) for s in studios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert rows(gallery.studio, search_entries) == rows(gallery.studio, search_vectors) == 24


def test_a_search_indexes_a_few_and_says_what_is_left(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CATCH_UP_IMAGES", 5)
    search, image = photographed.studio.search, photographed.image("cameraman-1.jpg")
    found = search.similar(photographed.owner, image.id, folder="/", threshold=0)
    assert (found.not_indexed, len(found.hits)) == (18 - 6, 5)
    while found.not_indexed:
        before = found.not_indexed
        found = search.similar(photographed.owner, image.id, folder="/", threshold=0)
        assert found.not_indexed < before
    assert len(found.hits) == 17


def test_a_crowd_of_searches_looks_at_each_image_once(photographed: Any) -> None:
    indexer, looked = photographed.studio.search.indexer, []
    look = indexer._look
    indexer._look = lambda image: (looked.append(image.sample_id), look(image))[1]
    threads = [threading.Thread(target=indexer.catch_up) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(looked) == sorted(set(looked))
    assert (len(looked), indexer.missing()) == (18, 0)


def test_the_background_builds_the_index_of_a_large_dataset(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra 'index' is not installed")
    for module in (service, vector_store):
        monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    studio, image = photographed.studio, photographed.image("cat.jpg").id
    studio.search.indexer.start()
    until(lambda: any((studio.home / "search").rglob("index.*")))
    found = studio.search.similar(photographed.owner, image, folder="/", threshold=0.7)
    assert {hit.sample.filename for hit in found.hits} == {"cat-0.jpg", "cat-1.jpg"}


def test_searches_and_indexing_at_once_agree_in_the_end(photographed: Any, open_studio: Any) -> None:
    other = open_studio()
    worker = threading.Thread(target=other.search.indexer.catch_up)
    worker.start()
    image = photographed.image("cat.jpg").id
    for _ in range(8):
        found = photographed.studio.search.similar(photographed.owner, image, folder="/", threshold=0)
        scores = [hit.similarity for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
    worker.join()
    assert (
        len(photographed.studio.search.similar(photographed.owner, image, folder="/", threshold=0).hits) == 17
    )


def test_a_new_version_looks_again(photographed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    indexer = photographed.studio.search.indexer
    assert (indexer.catch_up(), indexer.missing()) == (18, 0)
    before = rows(photographed.studio, search_tags)
    monkeypatch.setattr(looks, "ANALYZER", "next")
    assert (indexer.missing(), indexer.catch_up(), indexer.missing()) == (18, 18, 0)
    assert rows(photographed.studio, search_tags) == before


class OtherEmbedder:
    """Two numbers: mean brightness, and one."""

    name, dimensions, side = "other@1", 2, 64

    def embed(self, pictures: list[Any]) -> Any:
        made = np.array([[p.mean() / 255, 1.0] for p in pictures], np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)


class Stumbles(OtherEmbedder):
    name = "stumbles@1"

    def embed(self, pictures: list[Any]) -> Any:
        if pictures[0].shape[0] == pictures[0].shape[1]:
            raise ArithmeticError("a square picture")
        return super().embed(pictures)


def test_another_embedder_makes_its_own_vectors_and_the_old_ones_stay(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexer, search = photographed.studio.search.indexer, photographed.studio.search
    image = photographed.image("cat.jpg").id
    before = search.similar(photographed.owner, image, folder="/", threshold=0)
    old = indexer.embedder
    monkeypatch.setattr(indexer, "_embedder", OtherEmbedder())
    assert indexer.missing() == 18
    after = search.similar(photographed.owner, image, folder="/", threshold=0)
    assert rows(photographed.studio, search_vectors) == 36
    assert min(h.similarity for h in after.hits) > 0.9  # brightness tells little apart
    monkeypatch.setattr(indexer, "_embedder", old)
    assert search.similar(photographed.owner, image, folder="/", threshold=0) == before


def test_a_picture_that_an_embedder_stumbles_over_keeps_its_tags_and_nobody_else_back(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexer = photographed.studio.search.indexer
    monkeypatch.setattr(indexer, "_embedder", Stumbles())
    assert (indexer.catch_up(), indexer.missing()) == (18, 0)
    assert 0 < rows(photographed.studio, search_vectors) < 18
    assert rows(photographed.studio, search_entries) == 18
    # A square one: the message names the engine, not its words.
    with pytest.raises(Exception, match="embedder failed") as caught:
        photographed.studio.search.similar(photographed.owner, photographed.image("astronaut.jpg").id)
    assert "square picture" not in str(caught.value)
    monkeypatch.setattr(indexer, "_embedder", OtherEmbedder())
    assert (indexer.missing(), indexer.catch_up()) == (18, 18)
    assert rows(photographed.studio, search_vectors) >= 18


def test_an_image_purged_while_it_is_looked_at_leaves_no_row(gallery: Any, photos: dict[str, Any]) -> None:
    studio = gallery.studio
    gallery.add(photos["coins"], "coins.jpg")
    last = gallery.add(photos["cat"], "cat.jpg")
    look = studio.search.indexer._look

    def purged_meanwhile(image: Any) -> Any:
        found = look(image)
        if image.sample_id == last.row_id:
            studio.samples.delete(gallery.owner, last.id)
            studio.recycle_bin.purge(gallery.owner)
            # Takes the row id over.
            assert gallery.add(photos["coffee"], "coffee.jpg").row_id == last.row_id
        return found

    studio.search.indexer._look = purged_meanwhile
    assert studio.search.indexer.catch_up() == 2
    assert rows(studio, search_entries) == 1
    studio.search.indexer._look = look
    assert (studio.search.indexer.missing(), studio.search.indexer.catch_up()) == (1, 1)


def test_images_in_the_bin_and_of_others_are_not_indexed(
    gallery: Any, photos: dict[str, Any], stranger: Principal
) -> None:
    sample = gallery.add(photos["cat"], "cat.jpg")
    indexer = gallery.studio.search.indexer
    assert indexer.missing(Scope(organization_id=stranger.organization_id)) == 0
    gallery.studio.samples.delete(gallery.owner, sample.id)
    assert (indexer.missing(), indexer.catch_up()) == (0, 0)


def test_an_image_that_comes_back_from_the_bin_is_indexed_then(gallery: Any, photos: dict[str, Any]) -> None:
    studio = gallery.studio
    deleted = replace(gallery.owner, call_id=clock.new_id())
    gone = gallery.add(photos["cat"], "gone.jpg")
    studio.samples.delete(deleted, gone.id)
    stays = gallery.add(photos["coins"], "stays.jpg")
    assert studio.search.similar(gallery.owner, stays.id, threshold=0).hits == []
    studio.undo.call(replace(gallery.owner, call_id=clock.new_id()), str(deleted.call_id))
    found = studio.search.similar(gallery.owner, stays.id, threshold=0)
    assert [hit.sample.filename for hit in found.hits] == ["gone.jpg"]


def test_without_its_folder_the_index_answers_the_same(photographed: Any) -> None:
    search, image = photographed.studio.search, photographed.image("cat.jpg").id
    before = search.similar(photographed.owner, image, folder="/", threshold=0)
    shutil.rmtree(photographed.studio.home / "search")
    assert search.similar(photographed.owner, image, folder="/", threshold=0) == before


def test_a_dry_run_of_an_upload_indexes_nothing(gallery: Any, photos: dict[str, Any]) -> None:
    with gallery.studio.database.unit_of_work(rehearsal=True):
        gallery.add(photos["cat"], "cat.jpg")
    assert (gallery.studio.search.indexer.missing(), gallery.studio.search.indexer.catch_up()) == (0, 0)


def test_times_are_the_clock_s(gallery: Any, photos: dict[str, Any]) -> None:
    gallery.add(photos["cat"], "cat.jpg")
    gallery.studio.search.indexer.catch_up()
    with gallery.studio.database.read() as connection:
        at = connection.execute(sa.select(search_entries.c.indexed_at)).scalar_one()
    assert abs((clock.now() - at).total_seconds()) < 60
