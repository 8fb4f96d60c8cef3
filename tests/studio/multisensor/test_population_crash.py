"""kill -9 while samples and their files come in: what was answered is there, the rest comes again."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.pictures import jpeg

from tintype_studio.catalog.counters import recount
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.storage.tables import datasets, sample_files
from tintype_studio.studio import Studio, Workspace

COUNT = 200
TESTS = Path(__file__).parents[2]

PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop())
from dataclasses import replace
from pathlib import Path
import sqlalchemy as sa
from support.pictures import jpeg
from tintype_studio import clock
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.multisensor.population import NewSample
from tintype_studio.studio import Studio, Workspace

home, count, die_after, point = sys.argv[1:]
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))
who = replace(owner, call_id=clock.new_id(), tool="add_samples")
dataset = studio.datasets.get_or_create(owner, "signs")
news = [
    NewSample(
        uuid=f"00000000-0000-4000-8000-{n:012}", image_name=f"{n}.jpg", expected={"image": f"{n}.jpg"}
    )
    for n in range(int(count))
]
left = int(die_after)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def count_down(*_):
    global left
    left -= 1
    if left <= 0:
        die()


if point == "before the commit":
    sa.event.listen(studio.database.engine, "commit", count_down)
if point == "before the row":
    attach_many = studio.population.attach_many
    studio.population.attach_many = lambda wanted: (count_down(), attach_many(wanted))[1]
done = studio.population.populate(who, dataset, news)
slots = [studio.sample_links.slot(studio.sample_links.tokens(who, each)["image"]) for each in done]
for start in range(0, len(slots), 3):
    part = [(slot, jpeg(16, 12, seed=start + n)) for n, slot in enumerate(slots[start : start + 3])]
    outcomes = studio.sample_links.receive_many(part)
    assert all(isinstance(outcome, bool) for outcome in outcomes), outcomes
    print(start, flush=True)
"""


@pytest.mark.parametrize("point", ["before the commit", "before the row", "at any moment"])
def test_killed_again_and_again_it_ends_whole(home: Path, spawn: Any, point: str) -> None:
    chance = random.Random(point)
    answered = -1
    for _ in range(8):
        child = spawn(PROGRAM, COUNT, chance.randrange(1, 40), point, TESTS)
        if point == "at any moment":
            for _ in range(chance.randrange(0, 40)):
                if not child.stdout.readline():
                    break
            time.sleep(chance.uniform(0, 0.05))
            child.kill()
        lines = [line for line in child.stdout if line.endswith("\n")]
        child.wait()
        answered = max([answered, *map(int, lines)])
        _check(home, answered)
    last = spawn(PROGRAM, COUNT, 10**9, "never", TESTS)
    assert len(list(last.stdout)) == (COUNT + 2) // 3
    assert last.wait() == 0
    _check(home, COUNT - COUNT % 3)
    studio = Studio(Workspace(home))
    owner = studio.keys.authenticate(saved_api_key(home))
    page = studio.multisensor.page(studio.datasets.get(owner, "signs"), limit=1000)
    assert [s.filename for s in page] == [f"{n}.jpg" for n in range(COUNT)]
    for n, sample in enumerate(page):
        assert studio.blobs.get(sample.files["image"].sha256) == jpeg(16, 12, seed=n)
    studio.close()


def _check(home: Path, answered: int) -> None:
    """Whatever was answered is there; every row has its bytes; the counters are true."""
    studio = Studio(Workspace(home))
    owner = studio.keys.authenticate(saved_api_key(home))
    found = studio.datasets.find(owner, "signs")
    if found is None:
        studio.close()
        return
    page = studio.multisensor.page(found, limit=1000)
    assert len(page) in {0, COUNT}
    if answered >= 0:
        assert all("image" in sample.files for sample in page[: min(answered + 3, COUNT)])
    columns = [datasets.c.image_count, datasets.c.total_size]
    with studio.database.write() as connection:
        for digest in connection.execute(sa.select(sample_files.c.sha256)).scalars():
            assert hashlib.sha256(studio.blobs.get(digest)).hexdigest() == digest
        kept = connection.execute(sa.select(*columns)).all()
        recount(connection, found.row_id)
        assert kept == connection.execute(sa.select(*columns)).all()
    assert found.image_count == sum("image" in sample.files for sample in page)
    studio.close()
