"""Argument types and result shapes that several tools share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from tintype_studio.annotations.geometry import Annotation, Label
from tintype_studio.annotations.options import MAX_ATTRIBUTES, MAX_LENGTH, MAX_OPTIONS, MIN_OPTIONS
from tintype_studio.annotations.review import Selection
from tintype_studio.catalog.datasets import ClassAttribute, Dataset, DatasetClass
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import InvalidInput
from tintype_studio.exports.service import Export
from tintype_studio.history.undo import Undone
from tintype_tools.call import Call
from tintype_tools.spec import Args, Result

DatasetName = Annotated[str, Field(description="The dataset's name.")]
ImageId = Annotated[str, Field(description="UUID of the image.")]
VirtualFolder = Annotated[
    str, Field(description="Virtual folder inside the dataset, such as /stop.", max_length=500)
]


AnnotationType = Literal["bbox", "polygon", "polyline", "keypoint"]
"""What an annotation can be."""


class AttributeArgs(Args):
    """What may be said of each object of a class."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH, description="Such as colour.")]
    options: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]],
        Field(
            min_length=MIN_OPTIONS, max_length=MAX_OPTIONS, description="What it can be, such as red, blue."
        ),
    ]

    def as_attribute(self) -> ClassAttribute:
        """As the platform has it."""
        return ClassAttribute(self.name, tuple(self.options))


class ClassArgs(Args):
    """One class."""

    name: Annotated[Label, Field(description="Class label, case-sensitive.")]
    type: Annotated[AnnotationType | None, Field(description="Annotation type the class is meant for.")] = (
        None
    )
    color: Annotated[
        str | None, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="Drawing colour, #rrggbb.")
    ] = None
    attributes: Annotated[
        list[AttributeArgs] | None,
        Field(
            max_length=MAX_ATTRIBUTES,
            description="Its attributes; annotations choose one option of each. Left out: as they are.",
        ),
    ] = None

    def as_class(self) -> DatasetClass:
        """As the platform has it."""
        attributes = tuple(each.as_attribute() for each in self.attributes or ())
        return DatasetClass(self.name, self.type, self.color, attributes)


def declared_classes(call: Call, dataset: str, classes: Sequence[ClassArgs]) -> Dataset:
    """Replace a dataset's class list. Classes that say nothing of attributes keep theirs."""
    return call.studio.classes.declare(
        call.principal,
        dataset,
        [c.as_class() for c in classes],
        keep_attributes=frozenset(c.name for c in classes if c.attributes is None),
    )


class AttributeShape(Result):
    """An attribute of the objects of a class, and its options."""

    name: str
    options: list[str]


class ClassShape(Result):
    """A class label."""

    name: str
    type: str | None = None
    color: str | None = None
    attributes: list[AttributeShape] | None = None

    @classmethod
    def of(cls, found: DatasetClass) -> ClassShape:
        """From the platform's class."""
        attributes = [AttributeShape(name=a.name, options=list(a.options)) for a in found.attributes]
        return cls(name=found.name, type=found.type, color=found.color, attributes=attributes or None)


class ImageShape(Result):
    """An image of a dataset. Sizes in pixels (upright) and bytes."""

    id: str
    filename: str
    folder: str
    status: str
    width: int
    height: int
    annotation_count: int
    file_size: int
    mime_type: str
    created_at: datetime
    display_name: str | None = None
    image_url: str | None = None

    @classmethod
    def of(cls, sample: Sample, call: Call) -> ImageShape:
        """From the platform's sample; with a signed URL where an HTTP server can serve it."""
        return cls(
            id=sample.id,
            filename=sample.filename,
            folder=sample.folder,
            status=sample.status.value,
            width=sample.width,
            height=sample.height,
            annotation_count=sample.annotation_count,
            file_size=sample.file_size,
            mime_type=sample.mime_type,
            created_at=sample.created_at,
            display_name=sample.display_name,
            image_url=call.blob_url(sample.sha256, mime_type=sample.mime_type, filename=sample.filename),
        )


class DatasetShape(Result):
    """A dataset. ``total_size`` in bytes."""

    id: str
    name: str
    description: str | None = None
    created_at: datetime
    updated_at: datetime | None = None
    organization_id: str
    image_count: int
    completed_image_count: int
    annotation_count: int
    total_size: int
    classes: list[ClassShape]
    classes_declared: bool
    annotation_types: list[str] | None = None
    archived_images: int | None = None
    images: list[ImageShape] | None = None

    @classmethod
    def listed(cls, found: Sequence[Dataset], call: Call) -> list[DatasetShape]:
        """From the platform's datasets, as a list tells them: briefly."""
        in_bin = call.studio.datasets.in_bin(found)
        return [cls.of(dataset, archived=in_bin[dataset.id]) for dataset in found]

    @classmethod
    def whole(cls, dataset: Dataset, call: Call, images: list[ImageShape] | None = None) -> DatasetShape:
        """From the platform's dataset, with all that there is to tell."""
        shape = cls.of(dataset, images, archived=call.studio.datasets.count_in_bin(dataset))
        shape.updated_at = dataset.updated_at
        return shape

    @classmethod
    def of(
        cls, dataset: Dataset, images: list[ImageShape] | None = None, *, archived: int = 0
    ) -> DatasetShape:
        """From the platform's dataset; ``archived`` counts images in the recycle bin."""
        return cls(
            id=dataset.id,
            name=dataset.name,
            description=dataset.description,
            created_at=dataset.created_at,
            organization_id=dataset.organization_id,
            image_count=dataset.image_count,
            completed_image_count=dataset.completed_image_count,
            annotation_count=dataset.annotation_count,
            total_size=dataset.total_size,
            classes=[ClassShape.of(c) for c in dataset.classes],
            classes_declared=dataset.classes_declared,
            annotation_types=dataset.annotation_types,
            archived_images=archived or None,
            images=images,
        )


class ExportShape(Result):
    """An export. ``file_size`` in bytes; ``notes`` say what the format could not hold; ``job_id`` is the job
    that builds it, if it was too large for the call.
    """

    id: str
    dataset_id: str
    dataset_name: str
    name: str
    format: str
    status: str
    include_images: bool
    class_filter: list[str] | None = None
    status_filter: str | None = None
    error_message: str | None = None
    notes: list[str] | None = None
    file_size: int | None = None
    image_count: int | None = None
    annotation_count: int | None = None
    created_at: datetime
    completed_at: datetime | None = None
    job_id: str | None = None
    download_url: str | None = None

    @classmethod
    def of(cls, export: Export, call: Call) -> ExportShape:
        """From the platform's export; with a signed URL where an HTTP server can serve it."""
        url = None
        if export.sha256:
            url = call.blob_url(
                export.sha256,
                mime_type="application/zip",
                filename=f"{export.dataset_name}-{export.name}.zip",
            )
        return cls(
            id=export.id,
            dataset_id=export.dataset_id,
            dataset_name=export.dataset_name,
            name=export.name,
            format=export.format,
            status=export.status,
            include_images=export.include_images,
            class_filter=export.class_filter,
            status_filter=export.status_filter,
            error_message=export.error_message,
            notes=export.notes or None,
            file_size=export.file_size,
            image_count=export.image_count,
            annotation_count=export.annotation_count,
            created_at=export.created_at,
            completed_at=export.completed_at,
            job_id=export.job_id,
            download_url=url,
        )


Annotations = list[Annotation]

OnlyClass = Annotated[str | None, Field(description="Only this class.", max_length=120)]


class ReviewedShape(Result):
    """What a review of drafts changed. ``left`` counts drafts that remain in what was looked at."""

    images: int
    annotations: int
    by_class: dict[str, int]
    left: int
    more: bool | None = None
    """Set when the limit of one call was met: call again for the rest."""


def review(
    call: Call, image_uuid: str | None, dataset_name: str | None, selection: Selection, *, accept: bool
) -> ReviewedShape:
    """Accept or reject drafts of an image or of a dataset."""
    if (image_uuid is None) == (dataset_name is None):
        raise InvalidInput(
            "Say either image_uuid or dataset_name.",
            code="invalid_selection",
            fix="image_uuid reviews one image, dataset_name all images of a dataset.",
        )
    studio = call.studio
    if image_uuid is not None:
        done = studio.review.image(call.principal, image_uuid, selection, accept=accept)
    elif selection.ids is not None:
        raise InvalidInput(
            "annotation_ids need image_uuid: ids are unique within an image only.",
            code="invalid_selection",
            fix="Send image_uuid with them, or leave them out.",
        )
    else:
        dataset = studio.datasets.get(call.principal, dataset_name or "")
        done = studio.review.dataset(call.principal, dataset, selection, accept=accept, check=call.check)
    return ReviewedShape(
        images=done.images,
        annotations=done.annotations,
        by_class=dict(done.by_class),
        left=done.left,
        more=done.more or None,
    )


JsonArguments = Annotated[
    str,
    Field(description="Its arguments, as the text of a JSON object."),
]
"""Text, because strict schemas of several providers refuse objects of unknown shape."""


def parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of another tool's call; ``InvalidInput`` unless the text is a JSON object."""
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidInput(
            "arguments must be the text of a JSON object.",
            code="invalid_arguments",
            fix='Send the arguments like {"name": "road-signs"}.',
        )
    return arguments


class UndoneShape(Result):
    """What was taken back: calls, newest first, and how many things of each kind of change."""

    undone: list[str]
    counts: dict[str, int]

    @classmethod
    def of(cls, undone: Undone) -> UndoneShape:
        """From the platform's report."""
        return cls(undone=undone.calls, counts=undone.counts)
