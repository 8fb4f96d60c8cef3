"""Check a provider's key and list the datasets that can be imported with it."""

from __future__ import annotations

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.connectors import TOOLSET, ProviderArg, ProviderKey, RemoteDatasetShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ValidateConnectorArgs(Args):
    """Which provider, and the key."""

    provider: ProviderArg
    api_key: ProviderKey


class ValidateConnectorResult(Result):
    """Whether the key works; if so, what it can read."""

    valid: bool
    workspace: str = ""
    datasets: list[RemoteDatasetShape] = []
    error: str | None = None


def handle(args: ValidateConnectorArgs, call: Call) -> ValidateConnectorResult:
    """Ask the provider."""
    try:
        account = call.studio.connectors.validate(
            args.provider, args.api_key.get_secret_value(), check=call.check
        )
    except InvalidInput as error:
        if error.code not in {"connector_key_refused", "invalid_connector_key"}:
            raise
        return ValidateConnectorResult(valid=False, error=f"{error.message} {error.fix}")
    return ValidateConnectorResult(
        valid=True,
        workspace=account.workspace,
        datasets=[
            RemoteDatasetShape(id=d.id, name=d.name, slug=d.slug, image_count=d.image_count)
            for d in account.datasets
        ],
    )


TOOL = ToolSpec(
    name="validate_connector",
    title="Check a provider's key",
    category=Category.CONNECTORS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when the user wants to import from V7 Darwin or Roboflow: checks the key and lists the datasets "
        "to hand to import_from_connector. Changes nothing there or here."
    ),
    args=ValidateConnectorArgs,
    result=ValidateConnectorResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.READ,
    open_world=True,
    handler=handle,
)
