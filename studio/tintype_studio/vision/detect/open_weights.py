"""Finds and loads an open-vocabulary detector; every way in which that fails has one clear error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.extras import install_command
from tintype_studio.vision.detect.protocol import Readiness

SETTING = "TINTYPE_DETECTOR_MODEL"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between the models. ``usual`` is the score at which their authors call a box found."""

    name: str
    model_class: str
    usual: float


OWL_VIT = Family("owlvit", "OwlViTForObjectDetection", 0.1)
OWLV2 = Family("owlv2", "Owlv2ForObjectDetection", 0.2)
GROUNDING_DINO = Family("grounding-dino", "GroundingDinoForObjectDetection", 0.35)
MM_GROUNDING_DINO = Family("mm-grounding-dino", "MMGroundingDinoForObjectDetection", 0.35)
SAM3 = Family("sam3", "Sam3Model", 0.5)
FAMILIES: dict[str, Family] = {
    "owlvit": OWL_VIT,
    "owlv2": OWLV2,
    "grounding-dino": GROUNDING_DINO,
    "mm-grounding-dino": MM_GROUNDING_DINO,
    "sam3": SAM3,
    "sam3_video": SAM3,
}
"""By ``model_type`` of config.json; the published SAM 3 weights are those of the video model."""


def how_to_have_one() -> str:
    """What brings an open-vocabulary model, for a caller."""
    return (
        f"Ask the operator to run {install_command('openvocab')}, and to set {SETTING} to a hub id such as "
        "google/owlv2-base-patch16-ensemble, or to a local folder with its files."
    )


def readiness(model: str | None) -> Readiness:
    """Whether the configured model can be opened, as far as that is known without opening it."""
    engine = "open_vocabulary"
    if model is None:
        return Readiness(engine, False, "No open-vocabulary detector is configured.", how_to_have_one())
    try:
        require_extra()
        folder = Path(model).expanduser()
        if folder.is_dir():
            family_of(read_config(folder))
        elif not HUB_ID.fullmatch(model):
            raise _no_folder()
    except TintypeError as error:
        return Readiness(engine, False, error.message, error.fix)
    return Readiness(engine, True, f"{SETTING} names a model that takes any name.")


def require_extra() -> None:
    """Raise Unavailable unless the packages are installed."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise _failure(
            "extra_missing",
            f"{SETTING} names a model, but the extra that runs it is not installed ({', '.join(missing)}).",
            f"Ask the operator to run {install_command('openvocab')}, or to unset {SETTING}.",
        )


def open_weights(model: str) -> tuple[Family, Any, Any, Path | str, str]:
    """The family, the model in evaluation mode, its tokenizer, where it came from, and its device.

    ``model`` is a local folder or a hub id. Raises Unavailable with code ``extra_missing``,
    ``weights_missing``, ``weights_unreachable``, ``wrong_model`` or ``weights_broken``. Only safetensors are
    read: other weight files can carry code.
    """
    require_extra()
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = Path(model).expanduser()
    if folder.is_dir():
        family, local = family_of(read_config(folder)), True
        source = str(folder)
    elif HUB_ID.fullmatch(model):
        family, local = _from_hub(model, transformers)
        source = model
    else:
        raise _no_folder()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=local)
        loaded, report = getattr(transformers, family.model_class).from_pretrained(
            source, local_files_only=local, use_safetensors=True, output_loading_info=True
        )
    except OSError as error:
        raise _failure(
            "weights_missing",
            f"{SETTING} names a model whose files (model.safetensors, tokenizer) are not all there.",
            "Download all files of the model; weights in other formats are not read.",
        ) from error
    except Exception as error:
        raise _failure(
            "weights_broken", f"The model that {SETTING} names cannot be read.", "Download the model again."
        ) from error
    # Whatever is missing, transformers fills with random numbers; such a model would answer nonsense.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise _failure(
            "weights_broken",
            f"The weights that {SETTING} names do not fit their config.json.",
            "Download config.json and the weights of one and the same model.",
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return family, loaded.eval().to(device), tokenizer, folder if folder.is_dir() else source, device


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's ``config.json``."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except FileNotFoundError as error:
        raise _failure(
            "weights_missing",
            f"The folder that {SETTING} names has no config.json.",
            "Name the folder with config.json, model.safetensors and the tokenizer's files.",
        ) from error
    except (OSError, ValueError) as error:
        raise _failure(
            "weights_broken",
            f"The config.json in the folder that {SETTING} names cannot be read.",
            "Download the model again.",
        ) from error
    return config if isinstance(config, dict) else {}


def family_of(config: dict[str, Any]) -> Family:
    """The family of a model by its configuration."""
    kind = str(config.get("model_type"))
    family = FAMILIES.get(kind)
    if family is None:
        raise _failure(
            "wrong_model",
            f"{SETTING} names a model of type {kind[:40]!r}, which does not find things by name.",
            f"Name a model of one of the types {', '.join(FAMILIES)}.",
        )
    return family


def _from_hub(model: str, transformers: Any) -> tuple[Family, bool]:
    """Family of a hub model, and whether it is in the cache: that needs no network."""
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
        return family_of(config), local
    raise AssertionError


def _no_folder() -> TintypeError:
    return _failure(
        "weights_missing",
        f"The folder that {SETTING} names does not exist.",
        "Name a folder with config.json and model.safetensors, or a hub id such as "
        "google/owlv2-base-patch16-ensemble.",
    )


def _failure(code: str, message: str, fix: str) -> TintypeError:
    return Unavailable(message, code=code, fix=fix, retryable=code == "weights_unreachable")
