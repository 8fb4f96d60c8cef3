"""Published weights of transformers to start from: a local folder, or a model of the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tintype_studio.errors import TintypeError
from tintype_studio.vision.sam_weights import HUB_ID
from tintype_studio.vision.train.starting import needs_weights

LEAST_SHARE = 0.5
"""Of the numbers in a network, that published weights must fill: else they are those of something else."""
REACH_SECONDS = 4.0
"""How long the hub may take to answer at all; the library itself would try for half a minute."""


def open_published(
    model_class: str, kinds: Sequence[str], pretrained: str, pipeline: str, **changes: Any
) -> tuple[Any, str] | None:
    """A model of transformers with the named weights, and a sentence on what they are and what they left out.

    ``kinds`` are the ``model_type`` that fit, ``changes`` overrule the published configuration
    (``num_labels``). What then differs in shape starts at random. None when ``pretrained`` is a file or a
    folder of our own weights, which ``starting.start_from`` reads.

    Raises ``Unavailable`` (``needs_weights``). Only safetensors are read: other files can carry code.
    """
    import transformers

    path = Path(pretrained).expanduser()
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        return None
    if path.is_dir():
        source, name, kind, local = str(path), path.name, _kind_of_folder(path, pipeline), True
    elif HUB_ID.fullmatch(pretrained):
        source = name = pretrained
        kind, local = _kind_of_hub(pretrained, pipeline)
    else:
        raise needs_weights(f"{pretrained[:100]!r} is neither a file or folder here nor a hub id.", pipeline)
    if kind not in kinds:
        raise needs_weights(
            f"{name} is a model of type {kind[:40]!r}; {' or '.join(kinds)} is needed.", pipeline
        )
    transformers.utils.logging.disable_progress_bar()
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        model, report = getattr(transformers, model_class).from_pretrained(
            source,
            local_files_only=local,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **changes,
        )
    except OSError as error:
        raise needs_weights(f"The weights (model.safetensors) of {name} are not there.", pipeline) from error
    except Exception as error:
        raise needs_weights(f"The weights of {name} cannot be read.", pipeline) from error
    finally:
        transformers.utils.logging.set_verbosity(level)
    return model, f"pretrained: {name}{_left_out(model, report, name, pipeline)}"


def _left_out(model: Any, report: Any, name: str, pipeline: str) -> str:
    tensors = dict(model.named_parameters())
    random = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])} & set(tensors)
    if sum(tensors[key].numel() for key in random) > (1 - LEAST_SHARE) * sum(
        p.numel() for p in tensors.values()
    ):
        raise needs_weights(f"The weights of {name} do not fit this network.", pipeline)
    return f"; {len(random)} of {len(tensors)} tensors start at random (class heads)" if random else ""


def _kind_of_folder(folder: Path, pipeline: str) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text())["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise needs_weights(
            f"The config.json in {folder.name} does not say what model it is.", pipeline
        ) from error


def _kind_of_hub(name: str, pipeline: str) -> tuple[str, bool]:
    """The type of a hub model, and whether it is in the cache."""
    import transformers

    missing: TintypeError | None = None
    for local in (True, False):
        if not local and not _hub_answers():
            break
        try:
            config, _ = transformers.PreTrainedConfig.get_config_dict(name, local_files_only=local)
        except Exception as error:
            missing = needs_weights(
                f"{name} is not in the local cache and cannot be fetched from the hub.", pipeline
            )
            missing.__cause__ = error
            continue
        return str(config.get("model_type")), local
    assert missing is not None
    raise missing


def _hub_answers() -> bool:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        # The operator's own setting, whatever its scheme.
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=REACH_SECONDS).close()  # noqa: S310
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
