"""Local weights to start a training from: named in its configuration, read only where the caller may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tintype_studio.errors import InvalidInput, PathNotAllowed
from tintype_studio.training.weights import is_hub_id, is_model_id
from tintype_tools.call import Call


def local_weights(config: Mapping[str, Any] | None, call: Call) -> str | None:
    """Where the path in ``pretrained`` really leads; None if it is a model's id, a hub id or nothing.

    What looks like a hub id and is there as a file or folder is that. Raises what ``call.files`` raises.
    """
    given = (config or {}).get("pretrained")
    if not isinstance(given, str) or not given or is_model_id(given):
        return None
    try:
        return str(call.files.existing(given))
    except (InvalidInput, PathNotAllowed):
        if is_hub_id(given):
            return None
        raise
