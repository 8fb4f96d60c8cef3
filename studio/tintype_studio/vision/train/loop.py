"""Training itself, the same for every pipeline: holds a run's state, trains an epoch, validates."""

from __future__ import annotations

import importlib
import math
import os
import resource
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from tintype_studio.errors import Unavailable
from tintype_studio.vision.tasks import Signature
from tintype_studio.vision.train.batches import Batch, Batches
from tintype_studio.vision.train.ema import Average
from tintype_studio.vision.train.nets.pyramid import parameters
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.protocol import Built, Trainer
from tintype_studio.vision.train.schedule import CLOSING, Clock, rate
from tintype_studio.vision.train.session import Order
from tintype_studio.vision.train.validate import MAIN_METRIC, measure, numbers, torch_answer
from tintype_studio.vision.train.weights import opened

LARGEST_NORM = 10.0
"""Gradients beyond it are scaled down."""

VALIDATION_SHARE = 0.1
"""Of the time that validating may take: where it takes more, not every epoch is validated."""

VALIDATION_IMAGES = 256
"""At most, during training."""

MAKERS = 8
"""Threads, at most, that make batches for a GPU."""

SLACK = 1.2
"""Time is kept for the last validation: so many times what the one before took."""


class Diverged(Exception):
    """The loss is not a number any more."""


@dataclass(slots=True)
class Best:
    """The best weights so far."""

    epoch: int
    metric: float
    weights: dict[str, torch.Tensor]


@dataclass(slots=True)
class Trained:
    """What an epoch's steps brought."""

    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds for images."""
    rate: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    out_of_time: bool = False
    notes: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """Mean losses and the last learning rate."""
        if not self.steps:
            return {}
        means = {f"train_{name}": total / self.steps for name, total in self.sums.items()}
        return {"train_loss": sum(means.values()), **means, "learning_rate": self.rate}


class Loop:
    """A run in memory, standing after epoch ``number``."""

    def __init__(self, order: Order, data: PreparedData, kept: dict[str, Any] | None) -> None:
        self.order, self.data = order, data
        config = order.config
        self.trainer = trainer_of(order)
        prepared = data.prepared
        self.device = device_of(config.device)
        torch.set_num_threads(cores())
        torch.use_deterministic_algorithms(config.deterministic, warn_only=True)
        torch.manual_seed(config.seed)
        self.signature = self.trainer.signature(prepared.classes, config, multi_label=prepared.multi_label)
        built = build(self.trainer, self.signature, order, fresh=kept is None)
        self.initialization, self.architecture = built.initialization, built.architecture
        self.parameters = parameters(built.module)
        self.module = built.module.to(self.device, memory_format=torch.channels_last)
        self.average = Average(self.module) if config.ema else None
        groups = self.trainer.parameter_groups(self.module, config)
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._mixed = config.mixed_precision and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self._mixed)
        # Beside a GPU the cores have nothing else to do.
        self._makers = max(1, min(MAKERS, cores() - 1)) if self.device.type == "cuda" else 1
        self.number, self.spent, self.since_best = 0, 0.0, 0
        self.rate_factor = 1.0
        self.validated = 0
        """The epoch that was validated last."""
        self.validation_seconds = 0.0
        self.best: Best | None = None
        self.history: list[dict[str, float]] = []
        if kept is not None:
            self._restore(kept)

    def _restore(self, kept: dict[str, Any]) -> None:
        self.module.load_state_dict(kept["module"])
        if self.average is not None:
            self.average.module.load_state_dict(kept["average"])
            self.average.updates = kept["average_updates"]
        self.optimizer.load_state_dict(kept["optimizer"])
        self.scaler.load_state_dict(kept["scaler"])
        for name in _PLAIN:
            setattr(self, name, kept[name])
        if kept["best_epoch"]:
            self.best = Best(kept["best_epoch"], kept["best_metric"], kept["best_weights"])

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint; tensors are the living ones."""
        best = self.best
        weights = None
        if best is not None:
            # Stored once where the best weights are those of now.
            now = best.epoch == self.number
            weights = self.shown.state_dict() if now else best.weights
        return {
            "signature": self.signature.as_json(),
            "config": self.order.config.as_json(),
            "module": self.module.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "average_updates": 0 if self.average is None else self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_epoch": 0 if best is None else best.epoch,
            "best_metric": None if best is None else best.metric,
            "best_weights": weights,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @property
    def shown(self) -> torch.nn.Module:
        """The module that is validated and kept."""
        return self.module if self.average is None else self.average.module

    def train(self, number: int, seconds_left: float, batch_size: int) -> tuple[Trained, int]:
        """The steps of an epoch; returns what they brought and the batch size to go on with.

        Raises ``Diverged``, and ``Unavailable`` (``out_of_memory``) when not even one image fits.
        """
        config = self.order.config
        started = time.perf_counter()
        keep = SLACK * self.validation_seconds
        # By the clock the learning rate would depend on how busy the machine is.
        horizon = math.inf if config.deterministic else seconds_left
        clock = Clock(config.epochs, number, self.spent, horizon)
        torch.manual_seed(config.seed * 1_000_003 + number)
        self.module.train()
        batches = Batches(self.data, self.signature.task, config, number)
        total, done = len(batches.order()), 0
        trained = Trained()
        while done < total and not trained.out_of_time:
            mosaic = float(clock.progress(done / total, time.perf_counter() - started) < CLOSING)
            stream = batches.run(batch_size, mosaic, done, makers=self._makers)
            try:
                while done < total:
                    asked = time.perf_counter()
                    if asked - started > seconds_left - keep:
                        trained.out_of_time = True
                        break
                    batch = next(stream)
                    trained.waited += time.perf_counter() - asked
                    trained.rate = self._set_rate(clock.progress(done / total, asked - started))
                    self._step(batch, trained)
                    done += len(batch[1])
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                batch_size = self._smaller(batch_size, trained)
            finally:
                stream.close()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
        trained.seconds = time.perf_counter() - started
        return trained, batch_size

    def _set_rate(self, progress: float) -> float:
        factor = rate(progress) * self.rate_factor
        for group, base in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = base * factor
        return self.order.config.learning_rate * factor

    def _step(self, batch: Batch, trained: Trained) -> None:
        squares, targets = batch
        images = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2).float()
        with torch.autocast(self.device.type, enabled=self._mixed):
            losses = self.trainer.loss(self.module, images, targets)
        total = torch.stack([loss.float().sum() for loss in losses.values()]).sum()
        if not math.isfinite(float(total.detach())):
            raise Diverged
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), LARGEST_NORM)
        if not self._mixed and not math.isfinite(float(norm)):
            # In half precision it happens, and the scaler then leaves out the step.
            raise Diverged
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.module)
        for name, loss in losses.items():
            trained.sums[name] = trained.sums.get(name, 0.0) + float(loss.detach())
        trained.steps += 1
        trained.images += len(targets)

    def _smaller(self, batch_size: int, trained: Trained) -> int:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if batch_size == 1:
            raise Unavailable(
                "There is not enough memory to train on even one image at a time.",
                code="out_of_memory",
                fix=f"Set an image_size below {self.data.size}, or train on a machine with more memory.",
                retryable=False,
            )
        trained.notes.append(
            f"Memory ran out with {batch_size} images at a time; training goes on with {batch_size // 2}."
        )
        return batch_size // 2

    def due(self, number: int, seconds: float, *, last: bool) -> bool:
        """Whether to validate after an epoch whose steps took ``seconds``."""
        since = number - self.validated
        return last or self.validation_seconds <= VALIDATION_SHARE * since * seconds

    def validate(self, number: int) -> tuple[dict[str, float], bool]:
        """Metrics on the validation images, and whether they are the best so far."""
        started = time.perf_counter()
        indices = self.data.validation
        # Every so many, since the order may be that of folders.
        indices = indices[:: -(-len(indices) // VALIDATION_IMAGES)]
        answer = torch_answer(self.trainer.exportable(self.shown), self.device)
        metrics = numbers(measure(answer, self.signature, self.data, indices, original=False))
        self.validation_seconds = time.perf_counter() - started
        value = metrics.get(MAIN_METRIC[self.signature.task], 0.0)
        self.since_best += number - self.validated
        self.validated = number
        # Of equals the later one, which has seen more; but only a better one is progress.
        best = self.best is None or value >= self.best.metric
        if self.best is None or value > self.best.metric:
            self.since_best = 0
        if best:
            weights = {name: each.detach().cpu().clone() for name, each in self.shown.state_dict().items()}
            self.best = Best(number, value, weights)
        return metrics, best

    def peak_memory(self) -> int:
        """Bytes: of the process, or of the GPU if that is more."""
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return max(peak, torch.cuda.max_memory_allocated()) if self.device.type == "cuda" else peak

    @property
    def device_name(self) -> str:
        """``cpu``, or what the GPU is called."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"


_PLAIN = (
    "number",
    "spent",
    "since_best",
    "rate_factor",
    "validated",
    "validation_seconds",
    "history",
    "initialization",
    "architecture",
)
"""Attributes that a checkpoint keeps as they are."""


def trainer_of(order: Order) -> Trainer:
    """The pipeline's trainer."""
    module, _, name = order.of_pipeline().trainer.partition(":")
    made: Trainer = getattr(importlib.import_module(module), name)()
    return made


def build(trainer: Trainer, signature: Signature, order: Order, *, fresh: bool) -> Built:
    """A module to train (``fresh``), or one that a checkpoint fills anyway: that needs no weights to start
    from, unless they also say what the network looks like.
    """
    try:
        with opened(order) as config:
            built = trainer.build(signature, config)
    except Unavailable:
        if fresh:
            raise
        return trainer.build(signature, replace(order.config, pretrained=None))
    if order.weights is None:
        return built
    return replace(built, initialization=order.weights.called(built.initialization))


def device_of(wanted: str) -> torch.device:
    """What a configuration's ``device`` stands for here. Raises ``Unavailable`` (``no_gpu``)."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            "The configuration asks for CUDA, and there is none here.",
            code="no_gpu",
            fix="Set device to auto or cpu.",
            retryable=False,
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def cores() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what is the matter."""
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "out of memory" in told or "can't allocate memory" in told or "not enough memory" in told
    )
