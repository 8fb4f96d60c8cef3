"""Arguments and results of the tools of multi-sensor samples."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from tintype_studio.annotations.geometry import Annotation, typed_by_geometry
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.multisensor.file_types import FILE_TYPES, IMAGE
from tintype_studio.multisensor.new_sample import MAX_ANNOTATIONS, MAX_FRAME, NewSample
from tintype_studio.multisensor.sample_meta import Index, Location, Pose, meta_of
from tintype_studio.multisensor.samples import SensorSample, StoredFile
from tintype_studio.multisensor.sizes import MAX_SIDE
from tintype_studio.multisensor.staging import Staged
from tintype_tools.call import Call
from tintype_tools.shapes import Annotations
from tintype_tools.spec import Args, Result


def _typed(value: Any) -> Any:
    """Each annotation with the type that its geometry says, where it says none."""
    return [typed_by_geometry(each) for each in value] if isinstance(value, list) else value


TypedAnnotations = Annotated[Annotations, BeforeValidator(_typed)]
SampleId = Annotated[str, Field(description="UUID of the sample.", max_length=80)]
AnnotationSetName = Annotated[
    str | None, Field(description="Annotation set; the default one if left out.", max_length=120)
]
Text = Annotated[str, Field(max_length=500)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
FileTypeName = Annotated[
    str, Field(description=f"{', '.join(FILE_TYPES)}, or another short name.", max_length=40)
]


class LocationArgs(Args):
    """A place on earth, in degrees (WGS 84)."""

    lat: float
    lon: float


class PoseArgs(Args):
    """How the sensors were turned, in degrees."""

    roll: float
    pitch: float
    yaw: float


class SampleFileArgs(Args):
    """A file of a sample: one that is here, or one that will be put to a link."""

    type: FileTypeName
    path: Annotated[str | None, Field(description="Local file.")] = None
    upload_path: Annotated[
        str | None, Field(description="upload_path of a link of create_upload_url.", max_length=400)
    ] = None
    filename: Annotated[
        str | None,
        Field(
            description="Its name. Without path and upload_path: a link comes back for it.", max_length=255
        ),
    ] = None


class SampleArgs(Args):
    """One sample. What is left out stays as it is."""

    uuid: Annotated[str | None, Field(description="A sample that has it is updated.", max_length=80)] = None
    image_name: Annotated[str | None, Field(description="File name of the picture.", max_length=255)] = None
    group: Annotated[str | None, Field(description="Such as train, val or test.", max_length=120)] = None
    sequence_name: Annotated[str | None, Field(max_length=255)] = None
    sequence_uuid: Annotated[str | None, Field(max_length=80)] = None
    sequence_description: Annotated[str | None, Field(max_length=10_000)] = None
    frame_number: Annotated[int | None, Field(ge=0, le=MAX_FRAME)] = None
    width: Annotated[Side | None, Field(description="Pixels of the upright picture.")] = None
    height: Side | None = None
    location: LocationArgs | None = None
    pose: PoseArgs | None = None
    degradation: Annotated[Text | None, Field(description="Such as rain or fog.")] = None
    source: Text | None = None
    date: Annotated[AwareDatetime | None, Field(description="When it was taken.")] = None
    neg_label_indices: list[Index] | None = None
    not_exhaustive_label_indices: list[Index] | None = None
    timing: dict[str, int | None] | None = None
    further: Annotated[dict[str, Any] | None, Field(description="Any other facts.")] = None
    annotations: Annotated[
        TypedAnnotations | None,
        Field(
            max_length=MAX_ANNOTATIONS,
            description="Pixels of width x height; without these and without a local picture: 0 to 1.",
        ),
    ] = None
    label_indices: Annotated[
        dict[str, Index] | None, Field(description="Indices for new labels, by name.")
    ] = None
    files: Annotated[list[SampleFileArgs] | None, Field(max_length=40)] = None

    def as_new(self, staged: list[Staged], expected: Mapping[str, str]) -> NewSample:
        """As the platform takes it, with the files that are stored and those that will come."""
        image = next((each for each in staged if each.file.type == IMAGE), None)
        width, height = self.width, self.height
        if width is None and height is None and image is not None:
            width, height = image.width, image.height
        return NewSample(
            image_name=self.image_name,
            uuid=self.uuid,
            group=self.group,
            sequence_name=self.sequence_name,
            sequence_uuid=self.sequence_uuid,
            sequence_description=self.sequence_description,
            frame_number=self.frame_number,
            width=width,
            height=height,
            meta=meta_of(
                {
                    "location": self.location and self.location.model_dump(),
                    "pose": self.pose and self.pose.model_dump(),
                    "degradation": self.degradation,
                    "source": self.source,
                    "date": self.date,
                    "neg_label_indices": self.neg_label_indices,
                    "not_exhaustive_label_indices": self.not_exhaustive_label_indices,
                    "timing": self.timing,
                    "further": self.further,
                }
            ),
            annotations=self.annotations or (),
            label_indices=self.label_indices or {},
            files=staged,
            expected=expected,
        )


class FileShape(Result):
    """A file of a sample. ``size`` in bytes."""

    type: str
    filename: str
    size: int
    url: str | None = None

    @classmethod
    def of(cls, file: StoredFile, call: Call) -> FileShape:
        """From the platform's file; with a signed URL where an HTTP server can serve it."""
        url = call.blob_url(file.sha256, mime_type=file.mime_type, filename=file.filename)
        return cls(type=file.type, filename=file.filename, size=file.size, url=url)


class SampleShape(Result):
    """A sample. ``width`` and ``height`` in pixels, None while unknown; ``more``: further facts."""

    id: str
    wire_id: str
    filename: str
    folder: str
    status: str
    group: str | None = None
    sequence: str | None = None
    frame_number: int | None = None
    width: int | None = None
    height: int | None = None
    location: Location | None = None
    pose: Pose | None = None
    degradation: str | None = None
    date: datetime | None = None
    more: dict[str, Any] | None = None
    annotation_count: int
    files: list[FileShape]
    created_at: datetime
    annotations: list[Annotation] | None = None

    @classmethod
    def of(cls, sample: SensorSample, call: Call, *, annotations: bool = False) -> SampleShape:
        """From the platform's sample."""
        meta = sample.meta
        more = meta.as_json() or {}
        for name in ("location", "pose", "degradation", "date"):
            more.pop(name, None)
        return cls(
            id=sample.id,
            wire_id=f"s-{sample.row_id:x}",
            filename=sample.filename,
            folder=sample.folder,
            status=sample.status.value,
            group=sample.group,
            sequence=None if sample.sequence is None else sample.sequence.name,
            frame_number=sample.frame_number,
            width=sample.width,
            height=sample.height,
            location=meta.location,
            pose=meta.pose,
            degradation=meta.degradation,
            date=meta.date,
            more=more or None,
            annotation_count=sample.annotation_count,
            files=[FileShape.of(file, call) for file in sample.files.values()],
            created_at=sample.created_at,
            annotations=sample.annotations if annotations else None,
        )


def put_link(call: Call, token: str) -> str:
    """The absolute address to put a file of a sample to."""
    return f"{call.base_url}/_sample/{token}"


def require_server(call: Call, files: int) -> None:
    """``Conflict`` (``no_http_server``) where files are to come under links and no server could take them."""
    if files and call.base_url is None:
        raise Conflict(
            "This caller reaches no HTTP server that a file could be put to.",
            code="no_http_server",
            fix="Send files with a local path, or have the operator set TINTYPE_BASE_URL.",
        )


def one_source(file: SampleFileArgs) -> None:
    """``InvalidInput`` unless a file is told in one way."""
    if file.path is not None and file.upload_path is not None:
        raise InvalidInput(
            "A file has both path and upload_path.", code="invalid_selection", fix="Send one of the two."
        )
    if file.path is None and file.upload_path is None and not file.filename:
        raise InvalidInput(
            f"The file of type {file.type!r} has neither path, upload_path nor filename.",
            code="invalid_selection",
            fix="Send path for a local file, upload_path for one that was put, or filename for a link.",
        )
