"""Which images a search or an indexing is about."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio.storage.tables import datasets, samples


@dataclass(frozen=True, slots=True)
class Scope:
    """Which images: those of one dataset, of one organization, or all."""

    dataset_row_id: int | None = None
    organization_id: int | None = None

    def of_datasets(self) -> list[sa.ColumnElement[bool]]:
        """For a query over datasets."""
        found: list[sa.ColumnElement[bool]] = [datasets.c.deleted_at.is_(None)]
        if self.dataset_row_id is not None:
            found.append(datasets.c.id == self.dataset_row_id)
        if self.organization_id is not None:
            found.append(datasets.c.organization_id == self.organization_id)
        return found

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """For a query over samples and datasets; what is in the recycle bin is left out."""
        found = [samples.c.deleted_at.is_(None), *self.of_datasets()]
        # Told twice, so that the samples' own index is used.
        if self.dataset_row_id is not None:
            found.append(samples.c.dataset_id == self.dataset_row_id)
        return found


EVERYTHING = Scope()
