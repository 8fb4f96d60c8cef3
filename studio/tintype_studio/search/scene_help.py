"""What a search for scenes says when it can find none: what to set, or which names there are."""

from __future__ import annotations

from collections.abc import Sequence

from tintype_studio.errors import Unavailable
from tintype_studio.extras import install_command
from tintype_studio.search.indexer import Indexer
from tintype_studio.vision.embedders import SceneNamer
from tintype_studio.vision.scenes import SCENES, known_scene

_WITHOUT = "Until then use objects or attributes."


def about_scenes(indexer: Indexer, wanted: Sequence[str]) -> str | None:
    """One or two sentences for the caller; None where nothing needs to be said."""
    try:
        embedder = indexer.embedder
    except Unavailable as error:
        return f"No image has scenes now. {error.message} {error.fix}"
    if not isinstance(embedder, SceneNamer):
        return (
            "No engine of this server names scenes, so no image has any. Ask the operator to run "
            f"{install_command('embed')}, and to set TINTYPE_EMBEDDER_MODEL to a SigLIP or SigLIP 2 model (a "
            f"folder, or a hub id such as google/siglip2-base-patch16-224). {_WITHOUT}"
        )
    if embedder.scenes_name is None:
        return (
            f"The model of TINTYPE_EMBEDDER_MODEL names no scenes: {embedder.scenes_problem}. Ask the "
            f"operator to download all files of the model. {_WITHOUT}"
        )
    unknown = [scene for scene in wanted if known_scene(scene) not in SCENES]
    if not unknown:
        return None
    named = ", ".join(map(repr, unknown))[:200]
    return f"No image gets these scenes: {named}. There are {', '.join(SCENES)}."
