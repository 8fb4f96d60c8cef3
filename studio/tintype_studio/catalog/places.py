"""Which image stands at which place of a dataset's list, without counting from the start each time.

Images stand in upload order, that is by row id, and a page is found by its first row id (``after``). The
documented API asks by offset instead. So the row id of every thousandth image is remembered, in memory, once
a page has been asked for that lies behind it. New images stand at the end and move nothing; anything that
moves an image changes ``Dataset.reordered`` in its own transaction, and then all of it is forgotten. What an
offset means is therefore exactly what counting would have found.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import sqlalchemy as sa

from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import sample_files, samples

STEP = 1000
"""Places between two that are remembered."""

KEPT = 256
"""Datasets whose places are remembered: 8 kB for each million images."""

_PICTURE = sa.select(sample_files.c.id).where(
    sample_files.c.sample_id == samples.c.id, sample_files.c.type == "image"
)
_OF_DATASET = (samples.c.dataset_id == sa.bindparam("dataset"), samples.c.id > sa.bindparam("after"))
_NEXT_OF_ALL = Prepared(
    sa.select(samples.c.id).where(*_OF_DATASET).order_by(samples.c.id).limit(1).offset(STEP - 1)
)
_NEXT_LIVING = Prepared(
    sa.select(samples.c.id)
    .where(*_OF_DATASET, samples.c.deleted_at.is_(None), sa.exists(_PICTURE))
    .order_by(samples.c.id)
    .limit(1)
    .offset(STEP - 1)
)
_FIRST_IN_BIN = Prepared(
    sa.select(samples.c.id)
    .where(*_OF_DATASET, samples.c.deleted_at.is_not(None))
    .order_by(samples.c.id)
    .limit(1)
)
# Samples of other sensors, and those whose picture is still to come, stand in no list of images.
_FIRST_BARE = Prepared(
    sa.select(samples.c.id)
    .where(*_OF_DATASET, samples.c.id <= sa.bindparam("last"), ~sa.exists(_PICTURE))
    .order_by(samples.c.id)
    .limit(1)
)


class Places:
    """Remembered places of the datasets that were paged through. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], list[int]] = OrderedDict()
        """By UUID and ``reordered``: row ids of the images number 1000, 2000 …"""

    def before(
        self,
        connection: sa.Connection,
        dataset: tuple[str, int, int],
        offset: int,
        *,
        remember: bool,
    ) -> tuple[int, int] | None:
        """``(after, skip)``: the image at ``offset`` is number ``skip``, from 0, of those behind ``after``.

        ``dataset`` is UUID, row id and ``reordered`` as the connection's snapshot has them. None when the
        dataset has not so many images. ``remember=False`` where the snapshot may be taken back.
        """
        uuid, row_id, reordered = dataset
        wanted, skip = divmod(offset, STEP)
        with self._lock:
            known = list(self._known.get((uuid, reordered), ()))
        found = known[:wanted]
        while len(found) < wanted:
            last = _step(connection, row_id, found[-1] if found else 0)
            if last is None:
                break
            found.append(last)
        if remember and len(found) > len(known):
            self._remember((uuid, reordered), found)
        if len(found) < wanted:
            return None
        return (found[-1] if found else 0), skip

    def _remember(self, key: tuple[str, int], found: list[int]) -> None:
        with self._lock:
            if len(found) > len(self._known.get(key, ())):
                self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)


def _step(connection: sa.Connection, dataset_row_id: int, after: int) -> int | None:
    """The row id of the thousandth living image behind ``after``; None when there are fewer.

    Where all rows in between are images, and none of them lies in the recycle bin, the index alone tells.
    """
    key = {"dataset": dataset_row_id, "after": after}
    last = _NEXT_OF_ALL.all(connection, key)
    if not last:
        return None
    gone = _FIRST_IN_BIN.all(connection, key)
    binned = bool(gone) and gone[0]["id"] <= last[0]["id"]
    if binned or _FIRST_BARE.all(connection, key | {"last": last[0]["id"]}):
        last = _NEXT_LIVING.all(connection, key)
    return int(last[0]["id"]) if last else None
