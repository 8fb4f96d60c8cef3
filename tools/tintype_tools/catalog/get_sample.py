"""Look at one sample with everything that is known of it."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.sample_shapes import AnnotationSetName, SampleId, SampleShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetSampleArgs(Args):
    """Which sample, with its annotations in which set."""

    sample_id: SampleId
    annotation_set: AnnotationSetName = None


def handle(args: GetSampleArgs, call: Call) -> SampleShape:
    """Look up."""
    sample = call.studio.multisensor.get(call.principal, args.sample_id, annotation_set=args.annotation_set)
    return SampleShape.of(sample, call, annotations=True)


TOOL = ToolSpec(
    name="get_sample",
    title="Get a sample",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when you need one multi-sensor sample whole: the files of all its sensors with links, its "
        "sequence and frame, location, pose, degradation, and its annotations in any annotation set."
    ),
    args=GetSampleArgs,
    result=SampleShape,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    quick_unless=frozenset(),
    handler=handle,
)
