"""Tell the sizes of pictures where they are not known."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.population import MAX_SAMPLES
from tintype_tools.call import Call
from tintype_tools.sample_shapes import SampleId, Side
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class SampleSizeArgs(Args):
    """One sample and its size in pixels of the upright picture."""

    id: SampleId
    width: Side
    height: Side


class SetSampleSizesArgs(Args):
    """Of which dataset, and the sizes."""

    dataset_name: DatasetName
    sizes: Annotated[
        list[SampleSizeArgs],
        Field(min_length=1, max_length=MAX_SAMPLES, description="Pixels of the upright pictures."),
    ]


class SetSampleSizesResult(Result):
    """How many samples have another size now."""

    changed: int


def handle(args: SetSampleSizesArgs, call: Call) -> SetSampleSizesResult:
    """Set them."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    changed = call.studio.population.set_sizes(
        call.principal, dataset, [(each.id, each.width, each.height) for each in args.sizes]
    )
    return SetSampleSizesResult(changed=changed)


TOOL = ToolSpec(
    name="set_sample_sizes",
    title="Set the sizes of samples",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when samples lack width and height, because their pictures are not here, and the user knows "
        "them: annotations keep their place. A size that a stored picture tells is left as it is."
    ),
    args=SetSampleSizesArgs,
    result=SetSampleSizesResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    handler=handle,
)
