"""Finds and loads the weights of a SAM-family model; every way in which that fails has one clear error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.extras import install_command

SETTING = "TINTYPE_SAM_MODEL"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
IMAGENET_MEAN, IMAGENET_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between the models. ``mean`` and ``spread`` are of RGB in 0..1."""

    name: str
    model_class: str
    keeps_shape: bool
    """Whether the longer side fills the model's square and the rest is padded, or the picture is squeezed."""
    mean: tuple[float, float, float]
    spread: tuple[float, float, float]
    mask_side: int
    """Usual side of the model's masks, in pixels."""

    @staticmethod
    def side(model: Any) -> int:
        """Side of the square picture that a model takes, in pixels."""
        size = model.config.prompt_encoder_config.image_size
        return int(size if isinstance(size, int) else size[0])


_SAM = Family("sam", "SamModel", True, IMAGENET_MEAN, IMAGENET_SPREAD, 256)
_SAM2 = Family("sam2", "Sam2Model", False, IMAGENET_MEAN, IMAGENET_SPREAD, 256)
_SAM3 = Family("sam3", "Sam3TrackerModel", False, HALF, HALF, 288)
FAMILIES: dict[str, Family] = {
    "sam": _SAM,
    "sam2": _SAM2,
    "sam2_video": _SAM2,
    "sam3_tracker": _SAM3,
    "sam3_tracker_video": _SAM3,
    "sam3_video": _SAM3,
}
"""By ``model_type`` of the weights' config.json; the published SAM 2 and SAM 3 weights are video models."""


def open_weights(model: str) -> tuple[Family, Any, str]:
    """The family, the model in evaluation mode, and its device (``cuda`` where there is one, else ``cpu``).

    ``model`` is a local folder or a hub id. Raises Unavailable with code ``extra_missing``,
    ``weights_missing``, ``weights_unreachable``, ``wrong_model`` or ``weights_broken``. Only safetensors are
    read: other weight files can carry code.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise _failure(
            "extra_missing",
            f"{SETTING} names a model, but the extra that runs it is not installed.",
            f"Run {install_command('sam')}, or unset {SETTING} to use the engine without weights.",
        ) from error
    transformers.utils.logging.disable_progress_bar()
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _loaded(str(folder), _local_type(folder), local=True, torch=torch, transformers=transformers)
    if not HUB_ID.fullmatch(model):
        raise _failure(
            "weights_missing",
            f"The folder that {SETTING} names does not exist.",
            "Name the folder with config.json and model.safetensors, or a hub id such as "
            "facebook/sam2.1-hiera-tiny.",
        )
    # From the cache first: that needs no network, and with one it is faster.
    for local in (True, False):
        try:
            config, _ = transformers.PreTrainedConfig.get_config_dict(model, local_files_only=local)
        except OSError as error:
            if local:
                continue
            raise _failure(
                "weights_unreachable",
                f"{SETTING} names {model}, which is not in the local cache and cannot be fetched.",
                "Check the id and the network (gated models also need HF_TOKEN), or download the files "
                f"elsewhere and set {SETTING} to their folder.",
            ) from error
        kind = str(config.get("model_type"))
        return _loaded(model, kind, local=False, torch=torch, transformers=transformers)
    raise AssertionError


def _local_type(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text())
        return str(config["model_type"])
    except FileNotFoundError as error:
        raise _failure(
            "weights_missing",
            f"The folder that {SETTING} names has no config.json.",
            "Name the folder with config.json and model.safetensors, as transformers saves them.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _failure(
            "weights_broken",
            f"The config.json in the folder that {SETTING} names does not say what model it is.",
            "Download the model again.",
        ) from error


def _loaded(source: str, kind: str, *, local: bool, torch: Any, transformers: Any) -> tuple[Family, Any, str]:
    family = FAMILIES.get(kind)
    if family is None:
        raise _failure(
            "wrong_model",
            f"{SETTING} names a model of type {kind[:40]!r}, which does not answer point and box prompts.",
            f"Name a model of one of the types {', '.join(FAMILIES)}.",
        )
    try:
        model, loading = getattr(transformers, family.model_class).from_pretrained(
            source, local_files_only=local, use_safetensors=True, output_loading_info=True
        )
    except OSError as error:
        raise _failure(
            "weights_missing",
            f"{SETTING} names a model whose weights (model.safetensors) are not there.",
            "Download all files of the model; weights in other formats are not read.",
        ) from error
    except Exception as error:
        raise _failure(
            "weights_broken", f"The weights that {SETTING} names cannot be read.", "Download the model again."
        ) from error
    # Whatever is missing, transformers fills with random numbers; such a model would answer nonsense.
    if loading["missing_keys"] or loading["mismatched_keys"]:
        raise _failure(
            "weights_broken",
            f"The weights that {SETTING} names do not fit their config.json.",
            "Download config.json and the weights of one and the same model.",
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return family, model.eval().to(device), device


def _failure(code: str, message: str, fix: str) -> TintypeError:
    return Unavailable(message, code=code, fix=fix, retryable=code == "weights_unreachable")
