"""Which images of a dataset a model is measured on: those of a split, as its training divided them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.documents import set_row_id
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import samples
from tintype_studio.vision.tasks import Task

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.studio import Studio
    from tintype_studio.training.models import Model

ALL = "all"
RECORD = "splits_sha256"
"""Of a model's card: the blob with each image's split, by id."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """What is measured."""

    split: str
    """What it is in truth: ``all`` where nothing tells splits apart."""
    images: frozenset[str] | None = None
    """Ids, where they are known from the training; else the images' own split tells."""
    note: str | None = None
    """What whoever reads the figures must know."""
    set_id: int | None = None
    """Row of the annotation set that holds the truth; None for the default one."""

    @property
    def recorded_split(self) -> str:
        """As it is kept with the evaluation: figures of another truth are not those of the default one."""
        return self.split if self.set_id is None else f"{self.split}@{self.set_id}"

    def takes(self, sample: Sample) -> bool:
        """Whether an image is meant."""
        if self.split == ALL:
            return True
        return sample.split == self.split if self.images is None else sample.id in self.images


def dataset_of(studio: Studio, principal: Principal, model: Model, name: str | None) -> Dataset:
    """The dataset of that name, or the one that the model was trained on."""
    if name is None and model.dataset_row_id is None:
        raise NotFound(
            f"The dataset that {model.name!r} was trained on, {model.dataset_name!r}, is gone.",
            code="dataset_not_found",
            fix="Name another one in dataset_name.",
        )
    dataset = studio.datasets.get(principal, name or model.dataset_name)
    folders_tell = model.model_type is Task.CLASSIFICATION
    if not folders_tell and not set(model.classes) & {each.name for each in dataset.classes}:
        shown = ", ".join(model.classes[:10])
        raise InvalidInput(
            f"{dataset.name!r} has none of the classes of {model.name!r}.",
            code="no_common_class",
            fix=f"Name a dataset with some of: {shown}.",
        )
    return dataset


def choose(
    studio: Studio, dataset: Dataset, model: Model, split: str, annotation_set: str | None = None
) -> Choice:
    """The images that are meant by ``split``: train, val, test or all; the truth stands in a set by name.

    For the dataset that the model was trained on, what the training did counts; for another one the images'
    own splits; where there are none, all images.
    """
    choice = _chosen(studio, dataset, model, split)
    if annotation_set in {None, DEFAULT_SET}:
        return choice
    with studio.database.read() as connection:
        return replace(choice, set_id=set_row_id(connection, dataset.row_id, str(annotation_set)))


def _chosen(studio: Studio, dataset: Dataset, model: Model, split: str) -> Choice:
    own = dataset.row_id == model.dataset_row_id
    if split == ALL:
        return Choice(ALL, note="The model learned from some of these images." if own else None)
    recorded = _recorded(studio, model) if own else None
    if recorded is not None:
        return Choice(split, frozenset(image for image, where in recorded.items() if where == split))
    with studio.database.read() as connection:
        divided = connection.execute(
            sa.select(samples.c.id)
            .where(
                samples.c.dataset_id == dataset.row_id,
                samples.c.deleted_at.is_(None),
                samples.c.split.is_not(None),
            )
            .limit(1)
        ).first()
    if divided is not None:
        return Choice(split)
    note = f"{dataset.name} has no splits, so all its labelled images were measured."
    return Choice(ALL, note=note + (" The model may have learned from some of them." if own else ""))


def candidates(studio: Studio, dataset: Dataset, model: Model, choice: Choice) -> Iterator[Sample]:
    """The images that are meant and may be labelled, in upload order."""
    by_folder = model.model_type is Task.CLASSIFICATION
    after = 0
    while page := studio.samples.page(dataset, limit=PAGE, after=after):
        there = None
        if choice.set_id is not None:
            texts = studio.documents.texts_of_samples(page, choice.set_id)
            there = {sample.id for sample, text in texts if len(text) > len("[]")}
        for sample in page:
            empty = there is None and sample.status is Status.COMPLETE
            told = sample.folder != "/" if by_folder else empty
            labelled = sample.annotation_count if there is None else sample.id in there
            if (labelled or told) and choice.takes(sample):
                yield sample
        after = page[-1].row_id


def require_some(studio: Studio, dataset: Dataset, model: Model, choice: Choice) -> int:
    """How many candidates there are; InvalidInput (``no_images``) for none."""
    count = sum(1 for _ in candidates(studio, dataset, model, choice))
    if count:
        return count
    if choice.split == ALL:
        message, fix = "has no labelled image", "Label some of its images, or name another dataset."
    else:
        message = f"has no labelled image in the split {choice.split!r}"
        fix = "Use another split (train, val, test or all)."
    raise InvalidInput(f"{dataset.name!r} {message}.", code="no_images", fix=fix)


def _recorded(studio: Studio, model: Model) -> dict[str, str] | None:
    sha256 = model.card.get(RECORD)
    if not isinstance(sha256, str):
        return None
    try:
        found: dict[str, str] = orjson.loads(studio.blobs.get(sha256))
    except NotFound:
        return None
    return found
