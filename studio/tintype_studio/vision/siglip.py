"""SigLIP and SigLIP 2 as embedder, from a local folder or the hub, through transformers (extra ``embed``).

The vision tower is loaded; the text tower only once, for the names of scenes (``siglip_text``). Pictures
are prepared with Pillow and numpy as the models' own processors do, so that torchvision is not needed.
Until a picture is embedded neither torch nor transformers is loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import Unavailable
from tintype_studio.extras import install_command
from tintype_studio.vision.scenes import scene_tags
from tintype_studio.vision.siglip_text import TOKENIZER, TOKENIZER_FILES, SceneTexts, TextTowerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.vision.tags import Tag

log = logging.getLogger(__name__)

SETTING = "TINTYPE_EMBEDDER_MODEL"
FAMILIES = {"siglip": "SiglipVisionModel", "siglip2": "Siglip2VisionModel"}
"""Model types, and the class that holds their vision tower."""

_ENDS = 1 << 20
_WANTED_FILES = [
    "config.json",
    "preprocessor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    *TOKENIZER_FILES,
]
_WITHOUT = f"Or unset {SETTING}: the embedded descriptor needs no weights."


class SiglipEmbedder:
    """Pooled image features of the vision tower, of length one.

    ``model`` is a folder with ``config.json`` and ``*.safetensors``, or a hub id that is fetched once. With
    its text tower and ``tokenizer.json`` it names scenes, too; ``cache`` is a folder for their vectors.
    Raises ``Unavailable``: ``extra_missing`` without the packages, ``weights_missing`` without the files,
    ``weights_unreachable`` for a hub id that cannot be had, ``wrong_model`` for another kind of model; with
    the first picture ``weights_broken`` for weights that cannot be read or do not fit their configuration.
    Only safetensors are read: other files can carry code.
    """

    def __init__(self, model: str, cache: Path | None = None) -> None:
        missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
        if missing:
            raise Unavailable(
                f"{SETTING} needs packages that are not installed: {', '.join(missing)}.",
                code="extra_missing",
                fix=f"Ask the operator to run {install_command('embed')}. {_WITHOUT}",
                retryable=False,
            )
        self._folder = _local_folder(model)
        config = _read_json(self._folder / "config.json")
        kind = config.get("model_type", "")
        self._kind = kind.removesuffix("_vision_model")
        if self._kind not in FAMILIES:
            raise _wrong_model(f"its model type is {str(kind)[:40]!r}, not siglip or siglip2")
        vision = config.get("vision_config", config)
        self._patch = int(vision.get("patch_size", 16))
        self._patches = int(vision.get("num_patches", 256))
        preparation = _read_json(self._folder / "preprocessor_config.json", default={})
        size = preparation.get("size") or {}
        self._size = int(size.get("height") or vision.get("image_size", 224))
        self._patches = int(preparation.get("max_num_patches", self._patches))
        self._mean: list[float] = preparation.get("image_mean") or [0.5] * 3
        self._std: list[float] = preparation.get("image_std") or [0.5] * 3
        # The hub's own default for both families where the file does not say: bicubic is 3, bilinear 2.
        self._resample = int(preparation.get("resample", 2))
        self.dimensions = int(vision.get("hidden_size", 768))
        self.side = self._size if self._kind == "siglip" else self._patch * self._patches // 8
        self.name = f"{self._kind}:{_short(model)}@{_version(self._folder)}"
        self._model: Any = None
        self._turn = threading.Lock()
        self._texts: SceneTexts | None = None
        self.scenes_problem: str | None = None
        try:
            digest = _version(self._folder, TOKENIZER)
            self._texts = SceneTexts(self._folder, self._kind, config, digest, cache)
        except TextTowerError as error:
            self.scenes_problem = str(error)

    @property
    def scenes_name(self) -> str | None:
        """See ``SceneNamer``."""
        texts = self._texts
        return texts.name if texts is not None else None

    def scenes(self, vectors: NDArray[np.float32]) -> list[list[Tag]]:
        """See ``SceneNamer``."""
        texts = self._texts
        if texts is None or not len(vectors):
            return [[] for _ in vectors]
        try:
            return [scene_tags(row) for row in texts.probabilities(vectors).tolist()]
        except TextTowerError as error:
            log.warning("the model of %s names no scenes: %s", SETTING, error, exc_info=error.__cause__)
            self._texts, self.scenes_problem = None, str(error)
            return [[] for _ in vectors]

    def embed(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See ``Embedder``."""
        import numpy as np

        if not pictures:
            return np.zeros((0, self.dimensions), np.float32)
        with self._turn:
            import torch

            model = self._loaded()
            prepared = self._prepared(pictures)
            with torch.inference_mode():
                inputs = {k: torch.from_numpy(v).to(model.device) for k, v in prepared.items()}
                features = model(**inputs).pooler_output.float()
                features = torch.nn.functional.normalize(features, dim=-1)
            result: NDArray[np.float32] = features.cpu().numpy()
            return result

    def _loaded(self) -> Any:
        if self._model is not None:
            return self._model
        import torch
        import transformers

        try:
            model, report = getattr(transformers, FAMILIES[self._kind]).from_pretrained(
                self._folder,
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
            )
        except Exception as error:
            raise _broken("its weights cannot be read") from error
        # Whatever is missing, transformers fills with random numbers.
        if report["missing_keys"] or report.get("mismatched_keys"):
            raise _broken("its weights do not fit its config.json")
        self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return self._model

    def _prepared(self, pictures: list[NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
        import numpy as np

        if self._kind == "siglip":
            size = (self._size, self._size)
            batch = np.stack([self._scaled(p, size).transpose(2, 0, 1) for p in pictures])
            return {"pixel_values": np.ascontiguousarray(batch)}
        rows, masks, shapes = [], [], []
        for picture in pictures:
            high, wide = patch_grid(*picture.shape[:2], patch=self._patch, most=self._patches)
            scaled = self._scaled(picture, (wide * self._patch, high * self._patch))
            cut = scaled.reshape(high, self._patch, wide, self._patch, 3).transpose(0, 2, 1, 3, 4)
            patches = cut.reshape(high * wide, -1)
            empty = self._patches - len(patches)
            rows.append(np.pad(patches, ((0, empty), (0, 0))))
            masks.append(np.pad(np.ones(len(patches), np.int32), (0, empty)))
            shapes.append((high, wide))
        return {
            "pixel_values": np.stack(rows),
            "pixel_attention_mask": np.stack(masks),
            "spatial_shapes": np.array(shapes, np.int64),
        }

    def _scaled(self, picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        import numpy as np
        from PIL import Image

        image = Image.fromarray(picture).resize(size, Image.Resampling(self._resample))
        values = np.asarray(image, np.float32) / 255
        mean, std = np.array(self._mean, np.float32), np.array(self._std, np.float32)
        scaled: NDArray[np.float32] = ((values - mean) / std).astype(np.float32)
        return scaled


def patch_grid(height: int, width: int, *, patch: int, most: int) -> tuple[int, int]:
    """Rows and columns of patches for a picture that keeps its shape: as many as fit into ``most``.

    After NaFlex (Tschannen and others, SigLIP 2, 2025): the largest scale at which the sides, rounded up to
    whole patches, need no more than ``most``.
    """

    def grid(scale: float) -> tuple[int, int]:
        return max(1, math.ceil(height * scale / patch)), max(1, math.ceil(width * scale / patch))

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        rows, columns = grid(middle)
        low, high = (middle, high) if rows * columns <= most else (low, middle)
    return grid(low)


def _local_folder(model: str) -> Path:
    path = Path(model).expanduser()
    if path.is_dir():
        folder = path
    elif "/" in model and not model.startswith(("/", ".", "~")) and model.count("/") == 1:
        folder = _fetched(model)
    else:
        raise _needs_weights("there is no such folder")
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise _needs_weights("the folder lacks config.json or *.safetensors")
    return folder


def _fetched(model: str) -> Path:
    """The files of a hub id: those on this machine, else fetched."""
    from huggingface_hub import snapshot_download

    without_tokenizer: Path | None = None
    for offline in (True, False):
        # Not there, no network, no such model: one answer serves them all.
        with suppress(Exception):
            found = Path(
                snapshot_download(
                    model, allow_patterns=_WANTED_FILES, local_files_only=offline, etag_timeout=5
                )
            )
            if any(found.glob("*.safetensors")):
                if (found / TOKENIZER).is_file():
                    return found
                without_tokenizer = found
    if without_tokenizer is not None:
        return without_tokenizer
    raise Unavailable(
        f"The model of {SETTING} is not on this machine, and the hub did not hand it out.",
        code="weights_unreachable",
        fix="Ask the operator to check the id and the network, or to download the files elsewhere and name "
        f"their folder. {_WITHOUT}",
    )


def _read_json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        if default is not None:
            return default
        raise _broken("its config.json cannot be read") from None


def _short(model: str) -> str:
    """A name without the path that leads to it."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(model).name)[:60] or "model"


def _version(folder: Path, *more: str) -> str:
    """Changes with the configuration, the weights and ``more`` files; the ends and the length are read."""
    digest = hashlib.sha256()
    others = [folder / name for name in more if (folder / name).is_file()]
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors"), *others]):
        with path.open("rb") as file:
            size = path.stat().st_size
            digest.update(f"{path.name}:{size}:".encode())
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()[:12]


def _needs_weights(reason: str) -> Unavailable:
    return Unavailable(
        f"The model of {SETTING} cannot be used: {reason}.",
        code="weights_missing",
        fix="Ask the operator to put a SigLIP model (such as google/siglip2-base-patch16-224) into a folder "
        f"and to name it there. {_WITHOUT}",
        retryable=False,
    )


def _wrong_model(reason: str) -> Unavailable:
    return Unavailable(
        f"The model of {SETTING} cannot be used: {reason}.",
        code="wrong_model",
        fix=f"Ask the operator to name a SigLIP or SigLIP 2 model. {_WITHOUT}",
        retryable=False,
    )


def _broken(reason: str) -> Unavailable:
    return Unavailable(
        f"The model of {SETTING} cannot be used: {reason}.",
        code="weights_broken",
        fix=f"Ask the operator to download all files of the model again. {_WITHOUT}",
        retryable=False,
    )
