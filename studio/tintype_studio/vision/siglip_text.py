"""The text tower of a SigLIP model, needed for one thing: a vector for each scene, and what scores it.

The tower is loaded once per model, run on the vocabulary, and let go; of SigLIP 2 it is larger than the
vision tower. The vectors are kept in a file, so that the next process does without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintype_studio.vision.scenes import sentences, vocabulary_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TOWERS = {"siglip": "SiglipTextModel", "siglip2": "Siglip2TextModel"}
TOKENIZER = "tokenizer.json"
TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")
_ENDS_OF_TEXT = ("</s>", "<eos>")


class TextTowerError(Exception):
    """The folder names no scenes; the reason continues "its model names no scenes: …"."""


class SceneTexts:
    """The scenes' text vectors with the model's scale and bias. Thread-safe.

    ``config`` is the model's ``config.json``, ``digest`` stands for its weights and its tokenizer, ``cache``
    is a folder to keep the vectors in. Raises ``TextTowerError`` if files are missing.
    """

    def __init__(
        self, folder: Path, kind: str, config: dict[str, Any], digest: str, cache: Path | None
    ) -> None:
        if "text_config" not in config:
            raise TextTowerError("it has no text tower")
        if not (folder / TOKENIZER).is_file():
            raise TextTowerError(f"its folder lacks {TOKENIZER}")
        self._folder = folder
        self._kind = kind
        self._length = int((config["text_config"] or {}).get("max_position_embeddings", 64))
        self.name = hashlib.sha256(f"{digest}:{vocabulary_version()}".encode()).hexdigest()[:12]
        self._file = cache / f"scenes-{self.name}.npz" if cache is not None else None
        self._known: tuple[Floats, float, float] | None = None
        self._turn = threading.Lock()

    def probabilities(self, vectors: Floats) -> Floats:
        """(n, scenes) from 0 to 1, for (n, dimensions) image vectors of length one.

        Raises ``TextTowerError`` if the tower cannot be used.
        """
        import numpy as np

        with self._turn:
            if self._known is None:
                self._known = self._kept(vectors.shape[1]) or self._made(vectors.shape[1])
        texts, scale, bias = self._known
        logits = np.clip(vectors.astype(np.float32) @ texts.T * scale + bias, -60.0, 60.0)
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)

    def _kept(self, dimensions: int) -> tuple[Floats, float, float] | None:
        import numpy as np

        if self._file is None or not self._file.is_file():
            return None
        try:
            with np.load(self._file, allow_pickle=False) as found:
                texts = np.asarray(found["texts"], np.float32)
                scale, bias = float(found["scale"]), float(found["bias"])
        except Exception:  # damaged in whatever way: made anew
            return None
        whole = texts.shape == (len(sentences()), dimensions) and np.isfinite([scale, bias]).all()
        return (texts, scale, bias) if whole and np.isfinite(texts).all() else None

    def _made(self, dimensions: int) -> tuple[Floats, float, float]:
        import numpy as np

        try:
            scale, bias = self._scale_and_bias()
            texts = self._texts()
        except TextTowerError:
            raise
        except Exception as error:
            raise TextTowerError("its text tower cannot be read") from error
        if texts.shape[1] != dimensions or not np.isfinite(texts).all():
            raise TextTowerError("its text tower does not fit its vision tower")
        self._keep(texts, scale, bias)
        return texts, scale, bias

    def _keep(self, texts: Floats, scale: float, bias: float) -> None:
        import numpy as np

        if self._file is None:
            return
        spare = self._file.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with spare.open("wb") as file:
                np.savez(file, texts=texts, scale=scale, bias=bias)
            spare.replace(self._file)
        except OSError:  # a full disk costs the next process some seconds, and nothing else
            spare.unlink(missing_ok=True)

    def _texts(self) -> Floats:
        import torch
        import transformers

        tower, report = getattr(transformers, TOWERS[self._kind]).from_pretrained(
            self._folder,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
        )
        # Whatever is missing, transformers fills with random numbers.
        if report["missing_keys"] or report.get("mismatched_keys"):
            raise TextTowerError("the weights of its text tower are missing")
        with torch.inference_mode():
            vectors = tower.eval()(input_ids=torch.tensor(self._tokens())).pooler_output.float()
            made: Floats = torch.nn.functional.normalize(vectors, dim=-1).numpy()
        return made

    def _tokens(self) -> list[list[int]]:
        """The sentences as the models were trained: ended, and filled up to the full length."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        ends = [i for i in map(tokenizer.token_to_id, _ENDS_OF_TEXT) if i is not None]
        if not ends:
            raise TextTowerError(f"its {TOKENIZER} has no end of text")
        filler = self._filler(tokenizer, ends[0])
        rows = []
        for sentence in sentences():
            ids = list(tokenizer.encode(sentence).ids)
            if not ids or ids[-1] not in ends:
                ids.append(ends[0])
            ids = [*ids[: self._length - 1], ids[-1]] if len(ids) > self._length else ids
            rows.append(ids + [filler] * (self._length - len(ids)))
        return rows

    def _filler(self, tokenizer: Any, otherwise: int) -> int:
        """The padding token that the tokenizer's own files name."""
        for file in TOKENIZER_FILES[1:]:
            try:
                named = json.loads((self._folder / file).read_text()).get("pad_token")
            except (OSError, ValueError, AttributeError):
                continue
            token = named.get("content") if isinstance(named, dict) else named
            if isinstance(token, str) and (found := tokenizer.token_to_id(token)) is not None:
                return int(found)
        found = tokenizer.token_to_id("<pad>") if self._kind == "siglip2" else None
        return otherwise if found is None else int(found)

    def _scale_and_bias(self) -> tuple[float, float]:
        import math

        from safetensors import safe_open

        values: dict[str, float] = {}
        for path in self._folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                for key in {"logit_scale", "logit_bias"} & set(file.keys()):
                    values[key] = float(file.get_tensor(key).float().reshape(-1)[0])
        if len(values) < 2:
            raise TextTowerError("its weights lack logit_scale and logit_bias")
        scale, bias = math.exp(values["logit_scale"]), values["logit_bias"]
        if not math.isfinite(scale) or not math.isfinite(bias):
            raise TextTowerError("its logit_scale and logit_bias are no numbers")
        return scale, bias
