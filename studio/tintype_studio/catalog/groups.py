"""Groups of samples: train, val, test or others. A sample is in one group or in none.

The group stands in the sample itself (``samples.split``); a row of its own gives it an id, also while nothing
is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset, Datasets
from tintype_studio.catalog.picking import chunks
from tintype_studio.catalog.samples import add_to_counters
from tintype_studio.catalog.splitting import By, Unit, allotted, checked_ratios, units_of
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.history.image_ids import pack
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import sample_groups
from tintype_studio.storage.tables import samples

MAX_SAMPLES = 10_000
"""Samples that a call names."""

MAX_SPLIT = 2_000_000
"""Samples that a call divides."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is listed."""

    row_id: int
    id: str
    name: str
    sample_count: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an assignment did."""

    samples: int
    """Samples that are in the group now, whether or not they were before."""
    changed: int
    """Those that were not."""
    missing: list[str]
    """Ids that no sample of the dataset has; nothing was done about them."""


@dataclass(frozen=True, slots=True)
class Divided:
    """What became of a dataset that was divided."""

    counts: dict[str, int]
    """Samples by group, of those that were divided."""
    changed: int
    units: int
    """Parts that stayed together: samples, sequences or folders."""


class Groups:
    """Groups of datasets; each call sees only the principal's own."""

    def __init__(self, database: Database, catalog: Datasets) -> None:
        self._db = database
        self._datasets = catalog

    def list(self, principal: Principal, dataset_name: str) -> Sequence[Group]:
        """A dataset's groups in the order in which they were made, with the number of their samples."""
        return self.overview(principal, dataset_name)[0]

    def overview(self, principal: Principal, dataset_name: str) -> tuple[Sequence[Group], int]:
        """The groups, and how many samples are in none."""
        with self._db.read() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            counts = _counts(connection, dataset.row_id)
            rows = _rows(connection, dataset.row_id)
        ungrouped = counts.pop(None, 0)
        unknown = {name for name in counts if name is not None} - {row["name"] for row in rows}
        if unknown:  # of samples from before there were rows, or from formats that know splits
            with self._db.write() as connection:
                ensure_groups(connection, dataset.row_id, sorted(unknown))
                rows = _rows(connection, dataset.row_id)
        groups = [Group(row["id"], row["uuid"], row["name"], counts.get(row["name"], 0)) for row in rows]
        return groups, ungrouped

    def create(self, principal: Principal, dataset_name: str, names: Sequence[str]) -> Sequence[Group]:
        """Make groups that are not there yet, and return those of the names; case-sensitive."""
        wanted = [_clean(name) for name in dict.fromkeys(names)]
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            self._make(connection, principal, dataset, wanted)
        found = {group.name: group for group in self.list(principal, dataset_name)}
        return [found[name] for name in wanted]

    def set_split(
        self,
        principal: Principal,
        dataset_name: str,
        group: str | None,
        sample_ids: Sequence[str] = (),
        *,
        where: Sequence[sa.ColumnElement[bool]] = (),
        check: Callable[[], None] = lambda: None,
    ) -> Assigned:
        """Put samples into a group, which is made if it is new, or out of any with None.

        Those named by UUID, or else all that fulfil ``where``, conditions on columns of ``samples``.

        Raises:
            NotFound: ``sample_not_found``, when none of the ids is one of the dataset's.
            InvalidInput: no or too many samples, or a name that no group can have.
        """
        group = None if group is None else _clean(group)
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            alive = (samples.c.dataset_id == dataset.row_id, samples.c.deleted_at.is_(None))
            missing: list[str] = []
            if sample_ids:
                found, missing = _by_uuid(connection, dataset, sample_ids, alive)
            elif where:
                query = sa.select(samples.c.id, samples.c.split).where(*alive, *where)
                found = [(row.id, row.split) for row in connection.execute(query)]
            else:
                raise InvalidInput(
                    "No samples are named.", code="invalid_batch", fix="Send image_ids, or a query."
                )
            self._make(connection, principal, dataset, [] if group is None else [group])
            moving = {row_id: group for row_id, split in found if split != group}
            _assign(connection, principal, dataset, moving, dict(found), check)
        return Assigned(samples=len(found), changed=len(moving), missing=missing)

    def split_dataset(
        self,
        principal: Principal,
        dataset_name: str,
        ratios: Mapping[str, float],
        *,
        by: By = By.SAMPLE,
        seed: int = 0,
        only: Sequence[str | None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Divided:
        """Divide a dataset's samples among groups, in shares that add up to 1.

        The same samples with the same seed give the same division, wherever and however often. By sample the
        counts are the shares to within one sample; sequences or folders are never torn apart, so the shares
        are as near as their sizes allow. ``only`` takes the samples of some groups (None: those without); all
        others stay where they are.
        """
        shares = checked_ratios({_clean(name): share for name, share in ratios.items()}, len(ratios))
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            before, units = _units(connection, dataset, by, only)
            if not before:
                raise InvalidInput(
                    "There are no samples to divide.",
                    code="nothing_to_split",
                    fix="Name groups that have samples, or add samples first.",
                )
            check()
            groups = allotted(units, shares, seed=seed)
            self._make(connection, principal, dataset, list(shares))
            moving: dict[int, str | None] = {}
            counts = dict.fromkeys(shares, 0)
            for unit, group in zip(units, groups, strict=True):
                counts[group] += len(unit.rows)
                moving |= {row_id: group for row_id in unit.rows if before[row_id] != group}
            _assign(connection, principal, dataset, moving, before, check)
        return Divided(counts=counts, changed=len(moving), units=len(units))

    def _make(
        self, connection: sa.Connection, principal: Principal, dataset: Dataset, names: Sequence[str]
    ) -> None:
        for name in names:
            uuid = clock.new_id()
            made = connection.execute(
                self._db.insert_ignore(sample_groups).values(
                    uuid=uuid, dataset_id=dataset.row_id, name=name, created_at=clock.now()
                )
            ).rowcount
            if made:
                log_change(
                    connection, principal, Kind.GROUP_CREATED, dataset.row_id, subject=uuid, label=name
                )


def ensure_groups(connection: sa.Connection, dataset_row_id: int, names: Iterable[str]) -> None:
    """Give groups that samples are put into a row, in the transaction that does so."""
    known = set(
        connection.execute(
            sa.select(sample_groups.c.name).where(sample_groups.c.dataset_id == dataset_row_id)
        ).scalars()
    )
    fresh = [name for name in dict.fromkeys(names) if name not in known]
    if not fresh:
        return
    from sqlalchemy.dialects import postgresql, sqlite

    builder = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    rows = [
        {"uuid": clock.new_id(), "dataset_id": dataset_row_id, "name": name, "created_at": clock.now()}
        for name in fresh
    ]
    connection.execute(builder(sample_groups).on_conflict_do_nothing(), rows)


def _clean(name: str) -> str:
    return clean_name(name, "Group name")


def _rows(connection: sa.Connection, dataset_row_id: int) -> Sequence[sa.RowMapping]:
    return (
        connection.execute(
            sa.select(sample_groups)
            .where(sample_groups.c.dataset_id == dataset_row_id)
            .order_by(sample_groups.c.id)
        )
        .mappings()
        .all()
    )


def _counts(connection: sa.Connection, dataset_row_id: int) -> dict[str | None, int]:
    rows = connection.execute(
        sa.select(samples.c.split, sa.func.count().label("n"))
        .where(samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None))
        .group_by(samples.c.split)
    )
    return {row.split: row.n for row in rows}


def _by_uuid(
    connection: sa.Connection,
    dataset: Dataset,
    sample_ids: Sequence[str],
    alive: Sequence[sa.ColumnElement[bool]],
) -> tuple[list[tuple[int, str | None]], list[str]]:
    wanted = list(dict.fromkeys(printable(sample_id) for sample_id in sample_ids))
    if len(wanted) > MAX_SAMPLES:
        raise InvalidInput(
            f"A call takes up to {MAX_SAMPLES:,} samples, not {len(wanted):,}.",
            code="invalid_batch",
            fix="Send the samples in several calls.",
        )
    found: dict[str, tuple[int, str | None]] = {}
    for part in chunks(wanted):
        rows = connection.execute(
            sa.select(samples.c.id, samples.c.uuid, samples.c.split)
            .where(*alive, samples.c.uuid.in_(part))
            .with_for_update()
        )
        found |= {row.uuid: (row.id, row.split) for row in rows}
    if not found:
        raise NotFound(
            f"None of the {len(wanted):,} samples is in dataset {dataset.name!r}.",
            code="sample_not_found",
            fix="Call list_samples to see the ids.",
        )
    return list(found.values()), [sample_id[:80] for sample_id in wanted if sample_id not in found]


def _units(
    connection: sa.Connection, dataset: Dataset, by: By, only: Sequence[str | None] | None
) -> tuple[dict[int, str | None], list[Unit]]:
    """By row id, the group that each sample to be divided is in; and what stays together."""
    query = sa.select(
        samples.c.id, samples.c.filename, samples.c.split, samples.c.sequence_id, samples.c.folder
    ).where(samples.c.dataset_id == dataset.row_id, samples.c.deleted_at.is_(None))
    if only is not None:
        names = {lookup_name(name) for name in only if name is not None}
        chosen = [samples.c.split.in_(names)] + ([samples.c.split.is_(None)] if None in only else [])
        query = query.where(sa.or_(*chosen))
    rows = connection.execute(query.order_by(samples.c.id).limit(MAX_SPLIT + 1)).all()
    if len(rows) > MAX_SPLIT:
        raise InvalidInput(
            f"A call divides up to {MAX_SPLIT:,} samples.",
            code="too_many_samples",
            fix="Divide the samples of some groups at a time.",
        )
    return {row.id: row.split for row in rows}, units_of(connection, rows, by)


def _assign(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    moving: Mapping[int, str | None],
    before: Mapping[int, str | None],
    check: Callable[[], None],
) -> None:
    """Give samples their groups, and log it in one line."""
    if not moving:
        return
    now = clock.now()
    alike: dict[tuple[str | None, str | None], list[int]] = {}
    by_group: dict[str | None, list[int]] = {}
    for row_id, group in moving.items():
        alike.setdefault((before[row_id], group), []).append(row_id)
        by_group.setdefault(group, []).append(row_id)
    for group, ids in by_group.items():
        for part in chunks(ids):
            check()
            connection.execute(
                sa.update(samples).where(samples.c.id.in_(part)).values(split=group, updated_at=now)
            )
    add_to_counters(connection, dataset.row_id)  # for the dataset's own time
    log_change(
        connection,
        principal,
        Kind.SAMPLES_UPDATED,
        dataset.row_id,
        count=len(moving),
        detail={"split": [[old, new, pack(ids)] for (old, new), ids in alike.items()]},
    )
