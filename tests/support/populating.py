"""What tests of multi-sensor samples share: samples to come, their files, and counters counted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.counters import recount
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.population import NewSample, Populated
from tintype_studio.multisensor.samples import SensorSample
from tintype_studio.storage.tables import datasets, metadata
from tintype_studio.studio import Studio

SPACE = {"x": 4.0, "y": 1.0, "z": 0.5, "w": 2.0, "h": 1.5, "l": 4.5}
COUNTED = ("image_count", "completed_image_count", "annotation_count", "total_size")


def annotations(*entries: dict[str, Any]) -> list[Any]:
    named = [{"id": str(n), "name": "car", **entry} for n, entry in enumerate(entries)]
    return list(AnnotationList.model_validate({"annotations": named}).annotations)


def box(x: float, y: float, w: float, h: float, **given: Any) -> dict[str, Any]:
    return {"bounding_box": {"x": x, "y": y, "w": w, "h": h}, **given}


@dataclass
class Field:
    """A dataset, and whoever fills it."""

    studio: Studio
    owner: Principal
    dataset: Dataset

    def acts(self) -> Principal:
        """The owner in a new call."""
        return replace(self.owner, call_id=clock.new_id(), session="s", tool="add_samples")

    def populate(self, *news: NewSample, who: Principal | None = None, **given: Any) -> list[Populated]:
        return self.studio.population.populate(who or self.acts(), self.dataset, news, **given)

    def put(
        self, populated: Populated, data: bytes, kind: str = "image", who: Principal | None = None
    ) -> bool:
        """The file of a link, as the door takes it."""
        token = self.studio.sample_links.tokens(who or self.acts(), populated)[kind]
        return self.studio.sample_links.receive(self.studio.sample_links.slot(token), data)

    def sample(self, populated: Populated, **given: Any) -> SensorSample:
        return self.studio.multisensor.get(self.owner, populated.id, **given)

    def page(self, **given: Any) -> list[SensorSample]:
        return self.studio.multisensor.page(self.dataset, **given)

    def rows(self) -> dict[str, list[Any]]:
        """All rows of the workspace."""
        with self.studio.database.read() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(sa.select(table))]
                for table in metadata.sorted_tables
            }

    def assert_counters_true(self) -> dict[str, int]:
        """The dataset's counters, which are what counting anew gives."""
        columns = [datasets.c[name] for name in COUNTED]
        query = sa.select(*columns).where(datasets.c.id == self.dataset.row_id)
        with self.studio.database.write() as connection:
            kept = dict(connection.execute(query).mappings().one())
            recount(connection, self.dataset.row_id)
            assert kept == dict(connection.execute(query).mappings().one())
        return kept


@pytest.fixture
def field(studio: Studio, owner: Principal, dataset: Dataset) -> Iterator[Field]:
    made = Field(studio, owner, dataset)
    yield made
    made.assert_counters_true()


Picture = Callable[..., bytes]
