"""Images that a caller names for a job that labels: which there are, and which of them it may touch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio.annotations.review import is_draft
from tintype_studio.errors import NotFound
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.tables import samples

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.studio import Studio

MAX_NAMES = 10_000
NAMES_AT_A_TIME = 5_000
"""Of one query."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class NamedImages:
    """``rows`` of the images to look at, in upload order; how many were ``found``; names that are not there.

    What is found and not in ``rows`` has annotations that somebody made or accepted.
    """

    rows: list[int]
    found: int
    missing: list[str]


def named_images(
    studio: Studio, dataset: Dataset, filenames: Sequence[str], *, labelled: bool
) -> NamedImages:
    """The images with these file names; one without a folder means every image that bears it.

    ``labelled``: also those with annotations that are more than drafts. Raises ``NotFound``
    (``image_not_found``) when there is none of them at all.
    """
    wanted: dict[str, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    for given in filenames:
        folder, slash, name = lookup_name(given).rpartition("/")
        wanted[name]["/" + folder.strip("/") if slash else None].append(given)
    free: list[int] = []
    taken: list[int] = []
    met: set[str] = set()
    for row in _rows(studio, dataset, list(wanted)):
        of_name = wanted[row["filename"]]
        matching = [of_name[folder] for folder in (None, row["folder"]) if folder in of_name]
        met.update(*matching)
        if matching:
            (taken if row["annotation_count"] and not labelled else free).append(row["id"])
    missing = [given for given in dict.fromkeys(filenames) if given not in met]
    if not met:
        raise NotFound(
            f"Dataset {dataset.name!r} has none of these images: {printable(', '.join(missing[:3])[:120])}"
            f"{' …' if len(missing) > 3 else ''}.",
            code="image_not_found",
            fix="Call get_dataset with include_images=true to see the file names.",
        )
    found = len(free) + len(taken)
    return NamedImages(sorted(free + _only_drafts(studio, taken)), found, missing)


def only_drafts(document: Sequence[Annotation]) -> bool:
    """Whether nobody made or accepted any of the annotations."""
    return all(is_draft(annotation) for annotation in document)


def ids_of(studio: Studio, rows: Sequence[int]) -> Iterator[str]:
    """UUIDs of the images in these rows, in their order, without those that are deleted meanwhile."""
    for start in range(0, len(rows), PAGE):
        page = rows[start : start + PAGE]
        with studio.database.read() as connection:
            found = studio.samples.of_rows(connection, page)
        yield from (found[row].id for row in page if row in found)


def _rows(studio: Studio, dataset: Dataset, names: list[str]) -> Iterator[sa.RowMapping]:
    for start in range(0, len(names), NAMES_AT_A_TIME):
        query = sa.select(
            samples.c.id, samples.c.folder, samples.c.filename, samples.c.annotation_count
        ).where(
            samples.c.dataset_id == dataset.row_id,
            samples.c.deleted_at.is_(None),
            samples.c.filename.in_(names[start : start + NAMES_AT_A_TIME]),
        )
        with studio.database.read() as connection:
            found = connection.execute(query).mappings().all()
        yield from found


def _only_drafts(studio: Studio, rows: list[int]) -> list[int]:
    kept = []
    for start in range(0, len(rows), PAGE):
        with studio.database.read() as connection:
            page = studio.samples.of_rows(connection, rows[start : start + PAGE])
        documents = studio.documents.of_samples(list(page.values()))
        kept += [sample.row_id for sample, document in documents if only_drafts(document)]
    return kept
