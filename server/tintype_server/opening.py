"""Opens the platform, without tools: the light half of ``runtime``."""

from __future__ import annotations

from tintype_server.settings import Settings
from tintype_studio.studio import Studio, Workspace


def open_studio(settings: Settings) -> Studio:
    """Open the workspace, migrating it and settling what a crash left."""
    return Studio(Workspace(settings.home, settings.database_url, settings.blob_url))
