"""Label images that are named."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.kinds import auto_annotate, predict
from tintype_studio.ledger.prices import price_of
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.labelling_shapes import quoted
from tintype_tools.named_labelling import (
    LABEL,
    NamedLabellingArgs,
    NamedLabellingResult,
    kind_and_args,
    report,
)
from tintype_tools.spec import Category, Effect, Quote, ToolSpec

TYPICAL_IMAGES = 10
OPERATION = auto_annotate.OPERATION


class AutoAnnotateImagesArgs(NamedLabellingArgs):
    """Which images, which classes, how."""

    wait_seconds: WaitSeconds = DEFAULT_WAIT


def quote(args: AutoAnnotateImagesArgs, call: Call) -> Quote:
    """One price per image."""
    kind, job_args = kind_and_args(args, call)
    return quoted(call, kind, OPERATION if kind == LABEL else predict.OPERATION, job_args)


def plan(args: AutoAnnotateImagesArgs, call: Call) -> Plan:
    """How many images would be looked at, and how many passed over."""
    kind, job_args = kind_and_args(args, call)
    total = call.studio.jobs.plan(call.principal, kind, job_args).total or 0
    detail = {"images_skipped": job_args["images"] - total, "missing": job_args["missing_count"]}
    return Plan((Affected("annotations.saved", total, args.dataset_name, detail=detail),))


def handle(args: AutoAnnotateImagesArgs, call: Call) -> Output:
    """Start the job."""
    job = call.studio.jobs.start(call.principal, *kind_and_args(args, call))
    return Output(report(job, call), job=job.id)


TOOL = ToolSpec(
    name="auto_annotate_images",
    title="Label named images",
    category=Category.AUTO_ANNOTATE,
    toolset="auto_annotate",
    core=False,
    description=(
        "Use when certain images are to be labelled, by name: as auto_annotate_dataset does, or by one "
        "trained model. Images with annotations that are more than drafts are passed over. A job of 1 credit "
        "per image labelled."
    ),
    args=AutoAnnotateImagesArgs,
    result=NamedLabellingResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(OPERATION).total(TYPICAL_IMAGES),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    open_world=True,
    bulk=True,
    handler=handle,
    report=report,
)
