"""Import datasets from another platform."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.connectors.protocol import RemoteDataset
from tintype_studio.connectors.service import MAX_DATASETS
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.connectors import (
    TOOLSET,
    ImportResult,
    ProviderArg,
    ProviderKey,
    RemoteDatasetArg,
    report,
)
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class ImportFromConnectorArgs(Args):
    """What to import, and with which key."""

    provider: ProviderArg
    api_key: ProviderKey
    datasets: Annotated[
        list[RemoteDatasetArg],
        Field(min_length=1, max_length=MAX_DATASETS, description="As validate_connector tells them."),
    ]
    wait_seconds: WaitSeconds = DEFAULT_WAIT


def _planned(args: ImportFromConnectorArgs, call: Call) -> list[RemoteDataset]:
    wanted = [dataset.remote() for dataset in args.datasets]
    key = args.api_key.get_secret_value()
    return call.studio.connectors.plan(call.principal, args.provider, key, wanted, check=call.check)


def plan(args: ImportFromConnectorArgs, call: Call) -> Plan:
    """How many images the provider says there are, and the datasets that would be made for them."""
    affected = []
    for dataset in _planned(args, call):
        here = call.studio.datasets.find(call.principal, dataset.name)
        if here is None:
            affected.append(Affected("dataset.created", 1, dataset.name))
        existing = here.image_count if here is not None else 0
        detail = {"listed": dataset.image_count}
        count = max(0, dataset.image_count - existing)
        affected.append(Affected("images.added", count, dataset.name, detail=detail))
    return Plan(tuple(affected))


def handle(args: ImportFromConnectorArgs, call: Call) -> Output:
    """Ask the provider, then start the job; the key goes to the process that does it, and nowhere else."""
    planned = _planned(args, call)
    key = args.api_key.get_secret_value()
    job = call.studio.connectors.start(call.principal, args.provider, key, planned)
    return Output(report(job, call), job=job.id)


TOOL = ToolSpec(
    name="import_from_connector",
    title="Import from V7 or Roboflow",
    category=Category.CONNECTORS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when the user wants datasets of V7 Darwin or Roboflow here, with images and annotations. Call "
        "validate_connector first for the datasets. A free job; calling again goes on where it stopped, and "
        "skips what is here."
    ),
    args=ImportFromConnectorArgs,
    result=ImportResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    open_world=True,
    bulk=True,
    plan=plan,
    handler=handle,
    report=report,
)
