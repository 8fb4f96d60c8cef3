"""Training of the attribute heads: one small network over cut-out objects, after the one that finds them.

As with a detector, batches and random numbers follow from seed, epoch and place, never from timing.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tintype_studio.vision.crops import crop_of
from tintype_studio.vision.heads import HeadsSignature
from tintype_studio.vision.train.heads_plan import EPOCHS, SIZE
from tintype_studio.vision.train.loop import LARGEST_NORM, cores, device_of
from tintype_studio.vision.train.nets.object_options import ObjectOptions
from tintype_studio.vision.train.patches import Patches
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.schedule import Clock, rate
from tintype_studio.vision.train.session import Order, Prepared

LEAST_SHOWN, MOST_SHOWN = 512, 8192
"""Objects in an epoch: few are shown several times, of very many a part."""
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.05
SHIFT, SCALE = 0.08, (0.88, 1.14)
"""How far a box is moved, in shares of its sides, and how much it grows: detectors are no nearer."""
CONTRAST, BRIGHTNESS = (0.75, 1.3), 20.0
TINT, NOISE = 0.15, 12.0
"""Largest change of a picture: of each of its colours by that share, and of a pixel by its spread. One colour
never becomes another, because that may be what an attribute is about. Nor is a picture ever mirrored: so may
left and right.
"""
PERFECT, ENOUGH = 0.999, 3
"""Epochs of such an accuracy, after which nothing is left to learn."""
PATIENCE = 10
"""Epochs without a better one."""


def signature_of(prepared: Prepared) -> HeadsSignature:
    """The heads that are learned from prepared data."""
    options = {
        name: {attribute: list(counts) for attribute, counts in of_class.items()}
        for name, of_class in prepared.attributes.items()
    }
    return HeadsSignature.of(options, SIZE)


class HeadsLoop:
    """The training in memory, standing after epoch ``number``."""

    def __init__(self, order: Order, data: PreparedData, kept: dict[str, Any] | None) -> None:
        assert data.patches is not None
        self.order, self.patches = order, data.patches
        self.signature = signature_of(data.prepared)
        self.device = device_of(order.config.device)
        torch.set_num_threads(cores())
        torch.use_deterministic_algorithms(order.config.deterministic, warn_only=True)
        torch.manual_seed(order.config.seed)
        self._targets = data.patches.targets(self.signature)
        learned = np.asarray((self._targets >= 0).any(axis=1))
        self._train = [index for index in data.patches_of("train") if learned[index]]
        self._validation = [i for i in data.patches_of("val") if learned[i]] or self._train
        self._weights = [
            _balanced(self._targets[self._train, place], len(head.options))
            for place, head in enumerate(self.signature.heads)
        ]
        module = ObjectOptions(self.signature.outputs)
        self.module = module.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.module.parameters() if p.ndim > 1]},
                {"params": [p for p in self.module.parameters() if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
        )
        self.number, self.since_best, self.perfect, self.spent = 0, 0, 0, 0.0
        self.metrics: dict[str, float] = {}
        self.best: dict[str, Any] | None = None
        if kept is not None:
            self.module.load_state_dict(kept["module"])
            self.optimizer.load_state_dict(kept["optimizer"])
            for name in _PLAIN:
                setattr(self, name, kept[name])

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "signature": self.signature.as_json(),
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @property
    def tired(self) -> bool:
        """Whether more epochs would bring nothing."""
        return self.number >= EPOCHS or self.since_best >= PATIENCE or self.perfect >= ENOUGH

    def train(self, number: int, seconds_left: float, batch_size: int) -> bool:
        """The steps of an epoch; returns whether time ran out."""
        started = time.perf_counter()
        seed = self.order.config.seed
        # By the clock the learning rate would depend on how busy the machine is.
        horizon = math.inf if self.order.config.deterministic else seconds_left
        clock = Clock(EPOCHS, number, self.spent, horizon)
        torch.manual_seed(seed * 1_000_003 + number)
        rng = np.random.default_rng((seed, number))
        rounds = max(1, -(-LEAST_SHOWN // len(self._train)))
        order = np.concatenate([rng.permutation(self._train) for _ in range(rounds)])[:MOST_SHOWN]
        self.module.train()
        total, steps, out_of_time = 0.0, 0, False
        for place in range(0, len(order), batch_size):
            seconds = time.perf_counter() - started
            if steps and seconds > seconds_left:
                out_of_time = True
                break
            # Of batches of one size: a single crop has no spread that could be normalised.
            chosen = [int(order[(place + k) % len(order)]) for k in range(min(batch_size, len(order)))]
            factor = rate(clock.progress(place / len(order), seconds))
            for group in self.optimizer.param_groups:
                group["lr"] = LEARNING_RATE * factor
            loss = self._step(chosen, rng)
            if math.isfinite(loss):
                total, steps = total + loss, steps + 1
        self.number = number
        self.spent += time.perf_counter() - started
        self.metrics = {"train_loss": total / max(steps, 1)}
        return out_of_time

    def _step(self, chosen: list[int], rng: np.random.Generator) -> float:
        crops = np.stack([_moved(self.patches, index, rng) for index in chosen])
        images = _changed(torch.from_numpy(crops).to(self.device).float(), rng)
        logits = self.module(images.permute(0, 3, 1, 2))
        loss = self._loss(logits, chosen, weighted=True)
        value = float(loss.detach())
        self.optimizer.zero_grad(set_to_none=True)
        if math.isfinite(value):  # else the step is left out
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), LARGEST_NORM)
            self.optimizer.step()
        return value

    def _loss(self, logits: torch.Tensor, chosen: list[int], *, weighted: bool) -> torch.Tensor:
        """The mean over all attributes of all objects."""
        losses = []
        for place, head in enumerate(self.signature.heads):
            target = torch.from_numpy(self._targets[chosen, place]).to(self.device)
            weight = self._weights[place].to(self.device) if weighted else None
            mine = logits[:, head.start : head.end]
            losses.append(functional.cross_entropy(mine, target, weight, ignore_index=-1, reduction="none"))
        known = torch.from_numpy(self._targets[chosen] >= 0).to(self.device)
        return torch.stack(losses, 1).sum() / known.sum().clamp(min=1)

    def validate(self, number: int) -> bool:
        """Set the figures of the validation objects; returns whether they are the best so far."""
        self.module.eval()
        right = known = 0
        loss = 0.0
        with torch.inference_mode():
            for start in range(0, len(self._validation), 256):
                chosen = self._validation[start : start + 256]
                crops = np.stack(
                    [crop_of(self.patches.pixels(i), self.patches.boxes[i], SIZE) for i in chosen]
                )
                logits = self.module(_pixels(crops, self.device))
                targets = self._targets[chosen]
                mine = int((targets >= 0).sum())
                loss += float(self._loss(logits, chosen, weighted=False)) * mine
                known += mine
                for place, head in enumerate(self.signature.heads):
                    best = logits[:, head.start : head.end].argmax(1).cpu().numpy()
                    right += int((best == targets[:, place]).sum())
        accuracy, loss = right / max(known, 1), loss / max(known, 1)
        self.metrics |= {"val_accuracy": accuracy, "val_loss": loss}
        self.perfect = self.perfect + 1 if accuracy >= PERFECT else 0
        best = self.best
        progress = best is None or accuracy > best["accuracy"]
        # Of equals the one that is surer of it.
        better = progress or best is None or (accuracy == best["accuracy"] and loss < best["loss"])
        self.since_best = 0 if progress else self.since_best + 1
        if better:
            weights = {k: v.detach().cpu().clone() for k, v in self.module.state_dict().items()}
            self.best = {"number": number, "accuracy": accuracy, "loss": loss, "weights": weights}
        return better


_PLAIN = ("number", "since_best", "perfect", "spent", "metrics", "best")
"""Attributes that a checkpoint keeps as they are."""


def _balanced(targets: NDArray[np.int64], options: int) -> torch.Tensor:
    """Weights of the options: rare ones count more, by the root of how rare they are."""
    counts = np.bincount(targets[targets >= 0], minlength=options).clip(min=1)
    weights = np.sqrt(counts.mean() / counts)
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def _moved(patches: Patches, index: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop of an object whose box lies a little beside the true one."""
    left, top, right, bottom = patches.boxes[index].tolist()
    width, height = right - left, bottom - top
    across, down = rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    wide, high = rng.uniform(*SCALE, 2) * (width, height)
    x, y = (left + right) / 2 + across, (top + bottom) / 2 + down
    box = (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
    return crop_of(patches.pixels(index), box, SIZE)


def _changed(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The pictures ``[N, S, S, 3]``, changed in place: in other light and by another camera, which was
    measured to teach the most.
    """
    one = (len(images), 1, 1, 1)

    def drawn(low: float, high: float, shape: tuple[int, ...] = one) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32)).to(images.device)

    contrast, tint = drawn(*CONTRAST), drawn(1 - TINT, 1 + TINT, (len(images), 1, 1, 3))
    mean = images.mean((1, 2, 3), keepdim=True)
    light = ((1 - contrast) * mean + drawn(-BRIGHTNESS, BRIGHTNESS)) * tint
    noise = torch.randn(images.shape, device=images.device)
    return images.mul_(contrast * tint).add_(light).addcmul_(noise, drawn(0, NOISE)).clamp_(0, 255)


def _pixels(crops: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    images = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2)
    return images.float().contiguous(memory_format=torch.channels_last)
