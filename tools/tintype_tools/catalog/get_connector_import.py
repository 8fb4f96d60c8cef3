"""See how an import from another platform is doing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.connectors import TOOLSET, ImportResult, report
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetConnectorImportArgs(Args):
    """Which import."""

    import_id: Annotated[str, Field(max_length=80, description="import_id of import_from_connector.")]
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="Wait so long for its end.")] = 0


def handle(args: GetConnectorImportArgs, call: Call) -> ImportResult:
    """Look, or wait and look."""
    job = call.studio.connectors.get(call.principal, args.import_id)
    if args.wait_seconds:
        job = call.studio.jobs.wait(
            call.principal, job.id, args.wait_seconds, progress=call.progress, check=call.check
        )
    return report(job, call)


TOOL = ToolSpec(
    name="get_connector_import",
    title="Follow an import from a platform",
    category=Category.CONNECTORS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when an import of import_from_connector goes on: how far each dataset is, and what was given "
        "up. With wait_seconds it waits for the end; cancel_job stops it."
    ),
    args=GetConnectorImportArgs,
    result=ImportResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
