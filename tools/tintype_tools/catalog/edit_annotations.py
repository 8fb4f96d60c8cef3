"""Add annotations to samples, or take some away, and leave the others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.editing import MAX_SAMPLES, Edit
from tintype_studio.multisensor.new_sample import MAX_ANNOTATIONS
from tintype_studio.names import printable
from tintype_tools.call import Call
from tintype_tools.sample_shapes import AnnotationSetName, SampleId, TypedAnnotations
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class SampleEditArgs(Args):
    """What is to become of the annotations of one sample."""

    sample_id: SampleId
    add: Annotated[TypedAnnotations | None, Field(max_length=MAX_ANNOTATIONS)] = None
    remove: Annotated[
        list[Literal["box", "seg", "box3d"]] | None,
        Field(description="First: boxes, outlines and masks, 3-D boxes. What has no other place goes."),
    ] = None


class EditAnnotationsArgs(Args):
    """Of which samples, in which set."""

    dataset_name: DatasetName
    edits: Annotated[
        list[SampleEditArgs],
        Field(min_length=1, max_length=MAX_SAMPLES, description="All of them or none."),
    ]
    annotation_set: AnnotationSetName = None


class EditAnnotationsResult(Result):
    """How many samples changed, and how many annotations came and went."""

    samples: int
    added: int
    removed: int


def handle(args: EditAnnotationsArgs, call: Call) -> EditAnnotationsResult:
    """Edit."""
    edits: dict[str, Edit] = {}
    for each in args.edits:
        sample_id = printable(each.sample_id)
        if sample_id in edits:
            raise InvalidInput(f"Sample {sample_id} is named twice.", fix="Send one edit for each sample.")
        edits[sample_id] = Edit(each.add or (), each.remove or ())
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    done = call.studio.editing.edit(
        call.principal, dataset, edits, annotation_set=args.annotation_set or DEFAULT_SET
    )
    return EditAnnotationsResult(samples=done.samples, added=done.added, removed=done.removed)


TOOL = ToolSpec(
    name="edit_annotations",
    title="Edit annotations of samples",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when boxes or outlines are to be added to many samples, or one kind of them taken away, in any "
        "annotation set, while the other annotations stay. To replace all annotations of one image use "
        "save_annotations."
    ),
    args=EditAnnotationsArgs,
    result=EditAnnotationsResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    bulk=True,
    takes_away=True,
    handler=handle,
)
