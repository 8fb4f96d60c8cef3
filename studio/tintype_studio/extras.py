"""How an extra is installed here: the name alone says nothing to a package index that does not have it."""

from __future__ import annotations

import json
from typing import Any

DISTRIBUTION = "tintype"


def install_command(extra: str) -> str:
    """The command that brings an extra, as this installation came about; with the folder to run it in, where
    that matters, but without its path: callers over the network read this.
    """
    from urllib.parse import unquote, urlsplit

    origin = _origin()
    url = str(origin.get("url", ""))
    if "dir_info" in origin:
        how = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {_constraints(url)}{how}'.[{extra}]' in the checkout of Tintype"
    if "archive_info" in origin:
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        return f"pip install './{name}[{extra}]' in the folder with that file"
    if "vcs_info" in origin:
        return f"pip install '.[{extra}]' in a checkout of Tintype"
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def _origin() -> dict[str, Any]:
    """Where pip had it from (PEP 610); empty for a package index, or where nobody knows."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _constraints(url: str) -> str:
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    parts = urlsplit(url)
    beside = parts.scheme == "file" and Path(url2pathname(parts.path), "constraints.txt").is_file()
    return "-c constraints.txt " if beside else ""
