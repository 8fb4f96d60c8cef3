"""Which weights a run may start from: asked when it is planned, before anything is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from tintype_studio.errors import PathNotAllowed
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.vision.sam_weights import HUB_ID
from tintype_studio.vision.train.weights import Weights, needs_weights

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

OF_OUR_OWN = frozenset({"yolox", "detectron2"})
"""Pipelines whose networks no published weights fit."""


def weights_of(
    studio: Studio, principal: Principal, pipeline: str, pretrained: str | None, local: str | None
) -> Weights | None:
    """What ``pretrained`` of a configuration stands for; None without it.

    It is the UUID of a ready model of the organization, a hub id, or a path that whoever took the call has
    found to be within the caller's reach: then ``local`` is where it really leads.

    Raises ``NotFound`` (``model_not_found``), ``Conflict`` (``model_not_ready``), ``Unavailable``
    (``needs_weights``) for a model whose network is another, and ``PathNotAllowed``.
    """
    if pretrained is None:
        return None
    if local is not None:
        return Weights("local", pretrained, path=local)
    if is_model_id(pretrained):
        return _of_model(studio, principal, pipeline, pretrained)
    if is_hub_id(pretrained):
        if pipeline in OF_OUR_OWN:
            raise needs_weights(f"{pipeline} has a network of our own; nothing on the hub fits it.", pipeline)
        return Weights("hub", pretrained)
    raise PathNotAllowed(
        f"{printable(pretrained[:200])!r} is no model's id and no hub id; this call may read no local path.",
        fix="Set pretrained to the id of a ready model (list_models) or to a hub id such as org/name.",
    )


def is_model_id(pretrained: str) -> bool:
    """Whether it has the form of a model's id; a file of such a name is ``./<name>``."""
    try:
        return str(UUID(pretrained)) == pretrained.lower()
    except ValueError:
        return False


def is_hub_id(pretrained: str) -> bool:
    """Whether it has the form ``org/name``."""
    return HUB_ID.fullmatch(pretrained) is not None


def _of_model(studio: Studio, principal: Principal, pipeline: str, model_id: str) -> Weights:
    model = studio.models.ready(principal, model_id.lower())
    title = f"{model.name} {model.version}"
    if model.pipeline != pipeline:
        raise needs_weights(f"Model {title} is of the pipeline {model.pipeline}, not {pipeline}.", pipeline)
    start = model.card.get("started_from") or {}
    if start.get("kind") == "hub":
        # Its network is the published one; the networks that are built for models of ours are smaller.
        raise needs_weights(
            f"Model {title} has the network of {start['name']}; name that instead of the model.", pipeline
        )
    if model.checkpoint_sha256 is None:
        raise needs_weights(f"Model {title} has no weights file.", pipeline)
    return Weights("model", title, model.id, model.checkpoint_sha256)
