"""Add samples of several sensors, or tell more of those that are there."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.catalog.image_files import read_image_file
from tintype_studio.errors import TintypeError
from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.file_types import file_type
from tintype_studio.multisensor.new_sample import tell_which
from tintype_studio.multisensor.population import MAX_SAMPLES, Populated
from tintype_studio.multisensor.staging import Staged
from tintype_tools.call import Call
from tintype_tools.sample_shapes import (
    AnnotationSetName,
    SampleArgs,
    SampleFileArgs,
    one_source,
    put_link,
    require_server,
)
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class AddSamplesArgs(Args):
    """Which samples, and where to."""

    dataset_name: DatasetName
    samples: Annotated[
        list[SampleArgs], Field(min_length=1, max_length=MAX_SAMPLES, description="All of them or none.")
    ]
    annotation_set: AnnotationSetName = None
    learn_labels: Annotated[
        bool, Field(description="Add unknown labels even where the dataset declares its classes.")
    ] = False


class LinkShape(Result):
    """Where a file is to be put: HTTP PUT of its bytes, within a day."""

    type: str
    filename: str
    url: str


class AddedShape(Result):
    """What became of one sample. ``uuid`` is as it was sent; ``id`` is another where that was taken."""

    id: str
    wire_id: str
    uuid: str
    created: bool
    changed: bool
    links: list[LinkShape] | None = None


class AddSamplesResult(Result):
    """The samples, in the order in which they were sent."""

    created: int
    changed: int
    samples: list[AddedShape]


def handle(args: AddSamplesArgs, call: Call) -> AddSamplesResult:
    """Check and store what is here, then record all of it at once."""
    studio, principal = call.studio, call.principal
    dataset = studio.datasets.get(principal, args.dataset_name)
    to_come, taken_up, news = 0, list[str](), []
    for number, sample in enumerate(args.samples, 1):
        staged: list[Staged] = []
        expected: dict[str, str] = {}
        call.check()
        try:
            for file in sample.files or ():
                one_source(file)
                if file.path is None and file.upload_path is None:
                    expected[file_type(file.type).name] = file.filename or ""
                    to_come += 1
                else:
                    staged.append(_stage(file, call))
                    taken_up += [file.upload_path] if file.upload_path else []
            news.append(sample.as_new(staged, expected))
        except TintypeError as error:
            tell_which(error, number, sample.image_name or sample.uuid)
            raise
    require_server(call, to_come)
    done = studio.population.populate(
        principal,
        dataset,
        news,
        annotation_set=args.annotation_set or DEFAULT_SET,
        learn=args.learn_labels,
    )

    def discard() -> None:
        # What is left is swept; the samples are there.
        for path in taken_up:
            with suppress(TintypeError, OSError):
                studio.uploads.discard(principal, path)

    studio.database.after_commit(discard)
    return AddSamplesResult(
        created=sum(p.created for p in done),
        changed=sum(p.changed for p in done),
        samples=[_added(p, call) for p in done],
    )


def _stage(file: SampleFileArgs, call: Call) -> Staged:
    kind = file_type(file.type)
    if file.upload_path is not None:
        data = call.studio.uploads.read(call.principal, file.upload_path, max_bytes=kind.max_bytes)
        name = file.filename or file.upload_path.rpartition("/")[2]
    else:
        path = call.files.file(file.path or "")
        data, name = read_image_file(path, kind.max_bytes), file.filename or path.name
    return call.studio.population.stage(data, kind.name, name)


def _added(populated: Populated, call: Call) -> AddedShape:
    tokens = call.studio.sample_links.tokens(call.principal, populated) if populated.expected else {}
    links = [
        LinkShape(type=kind, filename=populated.expected[kind], url=put_link(call, token))
        for kind, token in tokens.items()
    ]
    return AddedShape(
        id=populated.id,
        wire_id=f"s-{populated.row_id:x}",
        uuid=populated.sent_uuid,
        created=populated.created,
        changed=populated.changed,
        links=links or None,
    )


TOOL = ToolSpec(
    name="add_samples",
    title="Add multi-sensor samples",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when samples come from several sensors or as frames of sequences: camera pictures with LiDAR or "
        "radar files, location, pose, group and annotations (3-D boxes too), all at once. Files are local "
        "paths, or get upload links. Sending a sample again by its uuid updates it. For plain pictures use "
        "upload_image."
    ),
    args=AddSamplesArgs,
    result=AddSamplesResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    bulk=True,
    handler=handle,
)
