"""Nearest vectors: exact beside brute force, through changes, crashes, damage and many processes."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Unavailable
from tintype_studio.search import vector_store
from tintype_studio.search.vector_store import FileVectorStore, note_change
from tintype_studio.storage.search_tables import search_vectors, search_versions
from tintype_studio.storage.tables import datasets, samples
from tintype_studio.studio import Studio

DIMENSIONS = 24
EMBEDDER = "test@1"


class Rows:
    """Samples with vectors but without pictures, put into the database by hand."""

    def __init__(self, studio: Studio, dataset: Dataset) -> None:
        self.studio, self.dataset = studio, dataset
        self.truth: dict[int, np.ndarray[Any, Any]] = {}
        self._random = np.random.default_rng(0)

    def add(self, count: int) -> list[int]:
        vectors = self._random.normal(size=(count, DIMENSIONS)).astype(np.float32)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f2")
        now = clock.now()
        with self.studio.database.write(durable=False) as connection:
            rows = [
                {
                    "uuid": clock.new_id(),
                    "dataset_id": self.dataset.row_id,
                    "filename": clock.new_id(),
                    "folder": "/",
                    "status": "new",
                    "created_at": now,
                    "updated_at": now,
                }
                for _ in range(count)
            ]
            insert = sa.insert(samples).returning(samples.c.id, sort_by_parameter_order=True)
            ids = list(connection.execute(insert, rows).scalars())
            connection.execute(
                sa.insert(search_vectors),
                [
                    {
                        "sample_id": row_id,
                        "embedder": EMBEDDER,
                        "dataset_id": self.dataset.row_id,
                        "token": secrets.randbits(62),
                        "vector": vector.tobytes(),
                    }
                    for row_id, vector in zip(ids, vectors, strict=True)
                ],
            )
            note_change(connection, self.studio.database, self.dataset.row_id, EMBEDDER)
        self.truth |= dict(zip(ids, vectors.astype(np.float32), strict=True))
        return ids

    def remove(self, ids: list[int]) -> None:
        with self.studio.database.write(durable=False) as connection:
            connection.execute(sa.delete(samples).where(samples.c.id.in_(ids)))
        for row_id in ids:
            del self.truth[row_id]

    def expected(self, query: np.ndarray[Any, Any], count: int, threshold: float) -> list[tuple[int, float]]:
        scored = [(i, float(v @ query)) for i, v in self.truth.items()]
        fits = [pair for pair in scored if pair[1] >= threshold]
        return sorted(fits, key=lambda pair: (-pair[1], pair[0]))[:count]


@pytest.fixture
def rows(studio: Studio, dataset: Dataset) -> Rows:
    return Rows(studio, dataset)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def store(studio: Studio, folder: Path) -> FileVectorStore:
    return FileVectorStore(studio.database, folder)


def renew(studio: Studio, dataset: Dataset) -> None:
    """Purge a dataset, and make another that gets its row id."""
    with studio.database.write() as connection:
        condition = datasets.c.id == dataset.row_id
        old = dict(connection.execute(sa.select(datasets).where(condition)).mappings().one())
        connection.execute(sa.delete(datasets).where(condition))
        connection.execute(sa.insert(datasets).values({**old, "uuid": clock.new_id()}))


def unit(seed: int) -> np.ndarray[Any, Any]:
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector / np.linalg.norm(vector)


def check(store: FileVectorStore, rows: Rows, *, seed: int = 1, count: int = 10, least: float = -2) -> None:
    query = unit(seed)
    ids, scores = store.nearest(rows.dataset.row_id, EMBEDDER, query, count=count, threshold=least)
    expected = rows.expected(query, count, least)
    assert scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-5)
    assert set(ids.tolist()) <= set(rows.truth)
    # Equal to the last bit or so, two may change places.
    for row_id, score in zip(ids.tolist(), scores.tolist(), strict=True):
        assert float(rows.truth[row_id] @ query) == pytest.approx(score, abs=1e-5)


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "lock")


def test_nothing_is_near_where_nothing_is(store: FileVectorStore, rows: Rows) -> None:
    check(store, rows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "ask", "reopen", "lose"]), st.integers(1, 40)), max_size=8
    ),
    count=st.integers(1, 60),
    least=st.sampled_from([-2.0, 0.0, 0.2, 0.99]),
)
def test_the_answer_is_that_of_brute_force_whatever_happened_before(
    studio: Studio, dataset: Dataset, folder: Path, steps: list[tuple[str, int]], count: int, least: float
) -> None:
    rows, store = Rows(studio, dataset), FileVectorStore(studio.database, folder)
    try:
        for step, number in steps:
            match step:
                case "add":
                    rows.add(number)
                case "remove":
                    rows.remove(list(rows.truth)[-number:])  # the last ones, whose row ids are used again
                case "ask":
                    check(store, rows, seed=number, count=count, least=least)
                case "reopen":
                    store = FileVectorStore(studio.database, folder)
                case _:
                    shutil.rmtree(folder, ignore_errors=True)
        check(store, rows, count=count, least=least)
    finally:  # the next example starts from nothing
        rows.remove(list(rows.truth))


def test_blocks_are_put_together(store: FileVectorStore, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_store, "BLOCK", 7)
    rows.add(100)
    for seed in range(5):
        check(store, rows, seed=seed, count=9)
        check(store, rows, seed=seed, count=9, least=0.3)


def test_a_search_within_some_samples_finds_those_only(store: FileVectorStore, rows: Rows) -> None:
    ids = rows.add(60)
    chosen = ids[::7]
    found, _ = store.nearest(
        rows.dataset.row_id, EMBEDDER, unit(3), count=50, threshold=-2, within=np.array(chosen)
    )
    assert sorted(found.tolist()) == chosen


@pytest.mark.parametrize("damage", ["state", "truncate", "flip", "keys", "empty", "no vectors", "garbage"])
def test_damaged_files_are_made_again(
    studio: Studio, store: FileVectorStore, rows: Rows, folder: Path, damage: str
) -> None:
    rows.add(50)
    check(store, rows)
    by_name = {p.name.split(".")[0]: p for p in files(folder)}
    target = by_name["keys" if damage == "keys" else "vectors"]
    match damage:
        case "state":
            by_name["state"].write_text('{"generation": "x"}')
        case "truncate":
            target.write_bytes(target.read_bytes()[:-10])
        case "flip" | "keys":
            data = bytearray(target.read_bytes())
            data[40] ^= 0xFF
            target.write_bytes(data)
        case "empty":
            target.write_bytes(b"")
        case "no vectors":
            target.unlink()
        case _:
            by_name["state"].write_bytes(b"\x00\xff")
    check(FileVectorStore(studio.database, folder), rows)


def test_what_a_dead_process_had_begun_to_append_is_cut_off(
    studio: Studio, store: FileVectorStore, rows: Rows, folder: Path
) -> None:
    rows.add(20)
    check(store, rows)
    for path in files(folder):
        if not path.name.startswith("state"):
            path.write_bytes(path.read_bytes() + b"\x01" * 77)
    rows.add(20)
    check(FileVectorStore(studio.database, folder), rows)


def test_new_vectors_are_appended_and_removed_ones_leave_no_files(
    store: FileVectorStore, rows: Rows, folder: Path
) -> None:
    ids = rows.add(30)
    check(store, rows)
    rows.add(5)
    check(store, rows)
    assert {p.suffix for p in files(folder)} == {".1", ".json"}
    rows.remove(ids[:3])
    rows.add(1)
    check(store, rows)  # a few that are gone are passed over
    assert {p.suffix for p in files(folder)} == {".1", ".json"}
    rows.remove(ids[3:10])
    rows.add(1)
    check(store, rows)
    assert {p.suffix for p in files(folder)} == {".2", ".json"}


def test_a_purged_image_whose_id_is_used_again_is_not_found_by_its_old_vector(
    studio: Studio, store: FileVectorStore, rows: Rows
) -> None:
    ids = rows.add(5)
    old = rows.truth[ids[-1]]
    check(store, rows)
    rows.remove(ids[-1:])
    now = clock.now()
    with studio.database.write() as connection:
        again = connection.execute(
            sa.insert(samples)
            .values(
                uuid=clock.new_id(),
                dataset_id=rows.dataset.row_id,
                filename="new.png",
                folder="/",
                status="new",
                created_at=now,
                updated_at=now,
            )
            .returning(samples.c.id)
        ).scalar_one()
    assert again == ids[-1]
    found, _ = store.nearest(rows.dataset.row_id, EMBEDDER, old, count=10, threshold=-2)
    assert sorted(found.tolist()) == ids[:-1]


def test_files_that_are_ahead_of_an_older_copy_of_the_database_are_made_again(
    studio: Studio, store: FileVectorStore, rows: Rows, folder: Path
) -> None:
    rows.add(10)
    check(store, rows)
    state = next(folder.rglob("state.json"))
    told = orjson.loads(state.read_bytes())
    state.write_bytes(orjson.dumps({**told, "version": told["version"] + (1 << 50)}))
    rows.add(10)
    check(FileVectorStore(studio.database, folder), rows, count=30)


def test_files_of_a_purged_dataset_are_not_those_of_the_next_with_its_row_id(
    studio: Studio, dataset: Dataset, store: FileVectorStore, rows: Rows
) -> None:
    rows.add(10)
    check(store, rows)
    renew(studio, dataset)
    rows.truth.clear()
    rows.add(10)
    check(store, rows)


def test_files_that_are_ahead_of_a_restored_backup_do_not_become_current(
    studio: Studio, store: FileVectorStore, rows: Rows
) -> None:
    rows.add(10)
    check(store, rows)
    with studio.database.read() as connection:
        backed_up = connection.execute(sa.select(search_versions.c.version)).scalar_one()
    rows.remove(rows.add(10))
    store.nearest(rows.dataset.row_id, EMBEDDER, unit(1), count=1, threshold=-2)
    with studio.database.write() as connection:
        connection.execute(sa.update(search_versions).values(version=backed_up))
    rows.add(10)
    check(store, rows, count=30)


def test_files_of_purged_datasets_are_removed_by_the_background(
    studio: Studio, dataset: Dataset, rows: Rows
) -> None:
    store = studio.search.vectors
    assert isinstance(store, FileVectorStore)
    rows.add(10)
    check(store, rows)
    kept = studio.home / "search/vectors"
    for gone in ("4711-aaaaaaaaaaaa", "4711-bbbbbbbbbbbb"):
        shutil.copytree(next(kept.glob(f"{dataset.row_id}-*")), kept / gone)
    (kept / "not-ours").mkdir()
    studio.search.indexer._work()
    names = {path.name.partition("-")[0] for path in kept.iterdir()}
    assert names == {str(dataset.row_id), "not"}
    check(store, rows)


def test_many_stores_over_one_folder_agree_while_vectors_come_and_go(
    studio: Studio, rows: Rows, folder: Path
) -> None:
    """As many processes would: each has a store of its own, and the lock is the file's."""
    kept = set(rows.add(200))
    errors: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        store = FileVectorStore(studio.database, folder)
        try:
            while not done.is_set():
                ids, _ = store.nearest(rows.dataset.row_id, EMBEDDER, unit(1), count=10_000, threshold=-2)
                assert len(set(ids.tolist())) == len(ids)
                assert kept <= set(ids.tolist())
        except BaseException as error:
            errors.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for thread in askers:
        thread.start()
    for _ in range(12):
        fresh = rows.add(20)
        rows.remove(fresh[:10])
    done.set()
    for thread in askers:
        thread.join()
    assert not errors
    check(FileVectorStore(studio.database, folder), rows)


def test_beyond_the_limit_an_index_answers_and_knows_what_came_later(
    studio: Studio, store: FileVectorStore, rows: Rows, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra 'index' is not installed")
    monkeypatch.setattr(vector_store, "EXACT_UP_TO", 500)
    rows.add(4000)
    store.ready(rows.dataset.row_id, EMBEDDER, DIMENSIONS)
    assert any(p.name.startswith("index.") for p in files(folder))
    found = wanted = 0
    compared: list[int] = []
    best = vector_store._best
    monkeypatch.setattr(
        vector_store, "_best", lambda v, q, r, *rest: (compared.append(len(r)), best(v, q, r, *rest))[1]
    )
    for seed in range(30):
        ids, _ = store.nearest(rows.dataset.row_id, EMBEDDER, unit(seed), count=10, threshold=-2)
        expected = {row_id for row_id, _ in rows.expected(unit(seed), 10, -2)}
        found, wanted = found + len(expected & set(ids.tolist())), wanted + 10
    assert max(compared) < 4000
    assert found / wanted >= 0.97
    later = rows.add(30)
    target = rows.truth[later[7]]
    ids, _ = store.nearest(rows.dataset.row_id, EMBEDDER, target, count=1, threshold=-2)
    assert ids.tolist() == [later[7]]


def test_a_damaged_index_is_not_used(
    store: FileVectorStore, rows: Rows, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra 'index' is not installed")
    monkeypatch.setattr(vector_store, "EXACT_UP_TO", 100)
    rows.add(600)
    store.ready(rows.dataset.row_id, EMBEDDER, DIMENSIONS)
    index = next(p for p in files(folder) if p.name.startswith("index."))
    index.write_bytes(index.read_bytes()[:100])
    check(store, rows)


def test_without_the_extra_every_vector_is_compared(
    store: FileVectorStore, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    monkeypatch.setattr(vector_store, "EXACT_UP_TO", 100)
    rows.add(300)
    store.ready(rows.dataset.row_id, EMBEDDER, DIMENSIONS)
    check(store, rows)


def test_a_search_can_be_stopped(store: FileVectorStore, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_store, "BLOCK", 10)
    rows.add(100)
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    ask: Callable[[], object] = lambda: store.nearest(  # noqa: E731
        rows.dataset.row_id, EMBEDDER, unit(1), count=5, threshold=-2, check=stop
    )
    with pytest.raises(KeyboardInterrupt):
        ask()
    assert len(calls) == 3


def test_a_full_disk_is_told_and_forgotten_once_there_is_room(
    store: FileVectorStore, rows: Rows, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.add(20)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unavailable) as caught:
        store.nearest(rows.dataset.row_id, EMBEDDER, unit(1), count=5, threshold=-2)
    assert (caught.value.code, str(folder) in caught.value.message) == ("storage_failed", False)
    monkeypatch.undo()
    check(store, rows)


def test_processes_of_their_own_share_the_files(studio: Studio, rows: Rows, folder: Path, spawn: Any) -> None:
    rows.add(300)
    code = """
import sys
from pathlib import Path
import numpy as np
from tintype_studio.search.vector_store import FileVectorStore
from tintype_studio.storage.database import Database
home, folder, dataset, embedder, dimensions = sys.argv[1:]
store = FileVectorStore(Database(f"sqlite:///{home}/tintype.db"), Path(folder))
for line in sys.stdin:
    ids, _ = store.nearest(int(dataset), embedder, np.ones(int(dimensions)), count=10_000, threshold=-2)
    print(*sorted(ids.tolist()), flush=True)
"""
    children = [spawn(code, folder, rows.dataset.row_id, EMBEDDER, DIMENSIONS) for _ in range(3)]
    for _ in range(5):
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        for child in children:
            assert [int(i) for i in child.stdout.readline().split()] == sorted(rows.truth)
        rows.remove(rows.add(40)[:15])
