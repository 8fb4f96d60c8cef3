"""Opens a workspace with its tools and guards; every door starts here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.opening import open_studio
from tintype_server.settings import Settings, parse_toolsets
from tintype_server.telemetry.telemetry import Telemetry
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome, Request
from tintype_tools.local_files import LocalFiles
from tintype_tools.registry import Registry, load_registry
from tintype_tools.snapshot import visible_tools
from tintype_tools.toolkit import Confirm, Toolkit


@dataclass(frozen=True, slots=True)
class Runtime:
    """An open workspace."""

    settings: Settings
    studio: Studio
    registry: Registry
    dispatch: Dispatcher
    telemetry: Telemetry

    @classmethod
    def open(cls, settings: Settings) -> Runtime:
        """Open, migrating and settling what a crash left."""
        studio = open_studio(settings)
        try:
            return cls.over(studio, settings)
        except BaseException:
            studio.close()
            raise

    @classmethod
    def over(cls, studio: Studio, settings: Settings) -> Runtime:
        """Add the tools and guards to an open platform."""
        registry = load_registry()
        telemetry = Telemetry.open(settings, studio)
        dispatch = Dispatcher(studio, registry, settings, around=telemetry.around)
        return cls(settings, studio, registry, dispatch, telemetry)

    def local_api_key(self) -> str | None:
        """The key of this machine's user: the setting, else the one saved at first start."""
        return self.settings.api_key or saved_api_key(self.settings.home)

    def flush(self) -> None:
        """Write and send what is queued, for an end of the process that never comes to ``close``."""
        self.studio.audit.flush()
        self.telemetry.flush()

    def close(self) -> None:
        """Flush and release."""
        self.studio.close()
        self.telemetry.close()


def working_folder_files(settings: Settings) -> LocalFiles:
    """The working folder and the configured roots: what stdio and the toolkit may touch.

    Some hosts start their servers in the file system's root; that opens nothing.
    """
    here = Path.cwd()
    return LocalFiles.under(
        *([here] if here != Path(here.anchor) else []), *settings.roots, forbidden=(settings.home,)
    )


def configured_files(settings: Settings) -> LocalFiles:
    """The configured roots only: what callers over the network may touch."""
    return LocalFiles.under(*settings.roots, forbidden=(settings.home,))


def everything(settings: Settings) -> LocalFiles:
    """Every path but the workspace's own: what a person at the command line may touch anyway."""
    return LocalFiles.under(Path("/"), forbidden=(settings.home,))


def create_toolkit(
    *,
    api_key: str | None = None,
    home: str | os.PathLike[str] | None = None,
    toolsets: Iterable[str] | None = None,
    read_only: bool = False,
    max_response_tokens: int | None = None,
    agent: str | None = None,
    confirm: Confirm | None = None,
) -> Toolkit:
    """Open the workspace of the settings for an agent loop in this process.

    ``api_key`` defaults to ``TINTYPE_API_KEY``, then to the owner key saved at first start. Without
    ``toolsets`` the core tools are shown, with it all tools of these, as far as settings and key leave them
    open; ``read_only`` leaves out, and refuses, whatever changes something. ``confirm`` asks
    a person about calls that need confirmation; without it they raise ``ConfirmationRequired``. Close the
    toolkit, or use it as a context manager.
    """
    settings = Settings.from_env()
    asked = None if toolsets is None else frozenset(parse_toolsets(",".join(toolsets)))
    if home is not None:
        settings = replace(settings, home=Path(home))
    if api_key is not None:
        settings = replace(settings, api_key=api_key)
    if max_response_tokens is not None:
        settings = replace(settings, max_response_tokens=max_response_tokens)
    runtime = Runtime.open(settings)
    runtime.studio.search.indexer.start()
    runtime.studio.jobs.supervisor.resume()
    key = runtime.local_api_key()
    principal = runtime.studio.keys.authenticate(key)
    new_request = partial(
        Request,
        api_key=key,
        door="toolkit",
        agent=agent,
        files=working_folder_files(settings),
        session=f"toolkit-{runtime.studio.liveness.instance}",
        toolsets=asked,
        read_only=read_only,
    )

    def dispatch(request: Request) -> Outcome:
        return runtime.dispatch(request)

    return Toolkit(
        dispatch,
        new_request,
        lambda: visible_tools(
            principal.role.value,
            settings.offered_toolsets(principal.toolsets, asked),
            read_only=read_only or settings.read_only,
        ),
        close=runtime.close,
        confirm=confirm,
    )
