"""kill -9 at any moment: what was acknowledged is there, the rest is invisible, the next run completes."""

from __future__ import annotations

import hashlib
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.uploads import numbers, places

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import annotation_revisions, sample_files, samples
from tintype_studio.studio import Studio

COUNT = 600
IMAGES = 20
BATCH = 16

UPLOADS = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from tintype_studio.catalog import ingest
from tintype_studio.studio import Studio, Workspace
from tintype_studio.identity.bootstrap import saved_api_key

home, folder, batch, die_at, point = sys.argv[1:]
ingest.BATCH = int(batch)
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))
dataset = studio.datasets.get_or_create(owner, "signs")
stored = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def progress(done, _total, _name):
    global stored
    stored = done
    if done == int(die_at) and point == "before the rows":
        die()
    print(f"{done:>4000}", flush=True)  # the pipe holds 16 of these: no running ahead of the parent

def before_commit(_connection):
    if stored >= int(die_at):
        die()

if point == "before the commit":
    sa.event.listen(studio.database.engine, "commit", before_commit)
studio.ingest.add_folder(owner, dataset, Path(folder), progress=progress)
"""

SAVES = """
import sys
from pathlib import Path
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home, first, *ids = sys.argv[1:]
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))
n = int(first)
while True:
    box = {"x": 1, "y": 1, "w": 2, "h": 2}
    raw = [{"id": f"{n}:{i}", "name": "car", "bounding_box": box} for i in range(1 + n % 6)]
    document = AnnotationList.model_validate({"annotations": raw}).annotations
    studio.documents.save(owner, ids[n % len(ids)], document)
    print(n, flush=True)
    n += 1
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 different pictures in four folders."""
    from support.pictures import jpeg

    root = tmp_path_factory.mktemp("pictures")
    for n in range(COUNT):
        path = root / f"class{n % 4}" / f"{n}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(16, 12, seed=n))
    return root


def read_lines(child: Any, count: int) -> list[int]:
    """The numbers that the child prints, ``count`` of them or fewer if it ends."""
    lines = []
    while len(lines) < count and (line := child.stdout.readline()):
        lines.append(int(line))
    return lines


def kill(child: Any) -> list[int]:
    """Kill the child; returns what it printed that was not read yet."""
    child.kill()
    rest = child.stdout.read()  # not communicate(), which skips what readline() has read ahead
    child.wait()
    return [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]


def check_everything_visible_is_whole(studio: Studio, owner: Principal, check_counters: Any) -> Dataset:
    """Rows have files, files have bytes of the right digest, counters are right, no other blob is broken."""
    with studio.database.read() as connection:
        assert connection.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
        without_file = connection.execute(
            sa.select(sa.func.count())
            .select_from(samples.outerjoin(sample_files, sample_files.c.sample_id == samples.c.id))
            .where(sample_files.c.id.is_(None))
        ).scalar_one()
    assert without_file == 0
    for digest in studio.blobs.digests():
        assert hashlib.sha256(studio.blobs.get(digest)).hexdigest() == digest
    dataset: Dataset = check_counters(studio, owner, "signs")
    assert len(places(studio, dataset)) == dataset.image_count
    return dataset


def check_the_next_run_completes(studio: Studio, owner: Principal, dataset: Dataset, folder: Path) -> None:
    kept = len(places(studio, dataset))
    assert numbers(studio.ingest.add_folder(owner, dataset, folder)) == (COUNT, COUNT - kept, kept, 0)
    uploaded = {path: studio.samples.image_bytes(s) for path, s in places(studio, dataset).items()}
    assert uploaded == {f"/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*.jpg")}


@pytest.mark.parametrize("point", ["before the rows", "before the commit"])
@pytest.mark.parametrize("die_at", [1, BATCH, BATCH + 1, 300, COUNT])
def test_a_death_between_the_bytes_and_their_rows_leaves_neither_visible(
    studio: Studio,
    owner: Principal,
    pictures: Path,
    spawn: Any,
    open_studio: Any,
    check_counters: Any,
    die_at: int,
    point: str,
) -> None:
    child = spawn(UPLOADS, pictures, BATCH, die_at, point)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    again = open_studio()
    dataset = check_everything_visible_is_whole(again, owner, check_counters)
    assert dataset.image_count == (die_at - 1) // BATCH * BATCH
    assert len(list(again.blobs.digests())) > dataset.image_count  # it did die between the two
    if die_at == 300:
        check_the_next_run_completes(again, owner, dataset, pictures)
        check_counters(again, owner, dataset.name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_an_upload_killed_at_random_moments_is_whole_after_each_and_completes(
    studio: Studio,
    owner: Principal,
    pictures: Path,
    spawn: Any,
    open_studio: Any,
    check_counters: Any,
    seed: int,
) -> None:
    chance = random.Random(seed)
    interrupted = 0
    for _ in range(3):
        child = spawn(UPLOADS, pictures, chance.choice([7, 32, 256]), -1, "never")
        read_lines(child, chance.randrange(1, 300))
        time.sleep(chance.uniform(0, 0.03))
        kill(child)
        again = open_studio()
        dataset = check_everything_visible_is_whole(again, owner, check_counters)
        interrupted += dataset.image_count < COUNT
        again.close()
    assert interrupted
    check_the_next_run_completes(studio, owner, dataset, pictures)
    assert check_everything_visible_is_whole(studio, owner, check_counters).image_count == COUNT


@pytest.mark.slow
def test_saves_killed_at_random_moments_leave_whole_documents_and_lose_none_that_was_acknowledged(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    picture: Any,
    spawn: Any,
    open_studio: Any,
    check_counters: Any,
) -> None:
    ids = [
        studio.ingest.add_image(owner, dataset, data=picture(), filename=f"{n}.jpg").id for n in range(IMAGES)
    ]
    chance = random.Random(1)
    acknowledged: dict[str, int] = {}
    first = 0
    for _ in range(6):
        child = spawn(SAVES, first, *ids)
        printed = read_lines(child, chance.randrange(5, 60))
        time.sleep(chance.uniform(0, 0.02))
        printed += kill(child)
        acknowledged |= {ids[n % IMAGES]: n for n in printed}
        first = printed[-1] + 2  # one more may have been saved without a word
        again = open_studio()
        for sample_id in ids:
            _, document = again.documents.get(owner, sample_id)
            saves = {int(annotation.id.partition(":")[0]) for annotation in document}
            if sample_id in acknowledged:
                [save] = saves
                assert acknowledged[sample_id] <= save < first
                assert [a.id for a in document] == [f"{save}:{i}" for i in range(1 + save % 6)]
        check_counters(again, owner, dataset.name)
        with again.database.read() as connection:
            counts = connection.execute(
                sa.select(
                    sa.func.count().label("rows"), sa.func.max(annotation_revisions.c.revision).label("last")
                ).group_by(annotation_revisions.c.sample_id)
            ).all()
        assert all(count.rows == count.last for count in counts)
        again.close()
