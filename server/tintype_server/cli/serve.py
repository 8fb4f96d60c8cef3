"""``tintype serve``: the HTTP server."""

from __future__ import annotations

import sys

import click

from tintype_server.settings import Settings

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8750, show_default=True, type=click.IntRange(0, 65535))
@click.option("--base-url", help="Public URL of this server, for signed links (TINTYPE_BASE_URL).")
@click.option("--allowed-host", multiple=True, help="Host name that clients use to reach this server.")
@click.option("--root", multiple=True, help="Local folder that callers' tools may read and write.")
@click.option("--toolsets", help="Comma-separated toolsets to offer; default all.")
@click.option("--read-only", is_flag=True, help="Change nothing, whatever a caller's role allows.")
@click.pass_obj
def command(
    settings: Settings,
    host: str,
    port: int,
    base_url: str | None,
    allowed_host: tuple[str, ...],
    root: tuple[str, ...],
    toolsets: str | None,
    read_only: bool,
) -> None:
    """Serve HTTP: MCP at /mcp and /sse, tools.json and dispatch under /api/v1/developer."""
    settings = settings.overridden(base_url=base_url, roots=root, toolsets=toolsets, read_only=read_only)
    if host not in LOOPBACK and not settings.base_url and not allowed_host:
        raise click.UsageError(
            f"Listening on {host} needs --base-url or --allowed-host, so that requests meant for other "
            "hosts can be told apart."
        )
    import signal

    import uvicorn

    from tintype_server.http.app import build_app
    from tintype_server.runtime import Runtime

    runtime = Runtime.open(settings)
    # uvicorn sends itself the signal again once it has stopped, and that must not skip the closing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        app = build_app(runtime, allowed_hosts=allowed_host)
        if settings.api_key is None:
            click.echo(f"Owner key: in {settings.home / 'config.toml'} (send it as X-API-Key)", err=True)
        uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)
    finally:
        runtime.close()
