"""``tintype login``: keep a key in the workspace's config.toml."""

from __future__ import annotations

import click

from tintype_server.cli.acting import on_record_here
from tintype_server.settings import Settings


@click.command("login")
@click.option("--api-key", help="The key; without it, you are asked, and what you type is not shown.")
@click.pass_context
def command(ctx: click.Context, api_key: str | None) -> None:
    """Save an API key for this user, after checking that it works in this workspace.

    The key that it replaces is kept in the file under [previous] as long as it works.
    """
    settings: Settings = ctx.obj
    of_root = ctx.parent.params.get("api_key") if ctx.parent is not None else None
    api_key = of_root if api_key is None else api_key
    if api_key is None:
        api_key = click.prompt("API key", hide_input=True, err=True)
    api_key = str(api_key).strip()
    if not api_key.startswith("pk_live_"):
        click.echo("warning: API keys start with pk_live_; this one does not.", err=True)
    with on_record_here(settings, "login") as (studio, deed):
        from tintype_studio.errors import Unauthorized
        from tintype_studio.identity.bootstrap import replace_credentials

        def works(key: str) -> bool:
            try:
                studio.keys.authenticate(key)
            except Unauthorized:
                return False
            return True

        deed.principal = principal = studio.keys.authenticate(api_key)
        kept = replace_credentials(settings.home, api_key, works)
    click.echo(f"Saved: key {principal.key_prefix}… with the role {principal.role}.")
    if kept:
        click.echo(
            f"The key that was saved before ({kept[0][:12]}…) still works and stays in config.toml "
            "under [previous]. Revoke it with `tintype keys revoke` when it is needed no more.",
            err=True,
        )
    if of_root is None and settings.api_key not in {None, api_key}:
        click.echo("note: TINTYPE_API_KEY is set and goes before the saved key.", err=True)
