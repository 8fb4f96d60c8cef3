"""RF-DETR (transformers) as detector: a map, its places that look like objects, a decoder that refines them.

After RF-DETR (Robinson and others, 2025). The modules are the library's, so that its published weights fit.
How they are called is written here: every place of the map answers, not only the chosen ones, so that all of
them can learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.sam_weights import IMAGENET_MEAN, IMAGENET_SPREAD
from tintype_studio.vision.train.nets.pyramid import NANO, STRIDES, Pyramid, Size
from tintype_studio.vision.train.nets.set_loss import corners

if TYPE_CHECKING:
    from transformers import RfDetrConfig

START = 0.05
"""Side of the box that a place of the map starts from, as a share of the image; as published."""
EDGE = 0.01
"""Places whose middle is this close to the edge of the image, as a share of it, are none; as published."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the network says, nothing chosen yet: N images, G groups of Q queries, T places, L layers."""

    place_logits: list[torch.Tensor]
    """For each group ``[N, T, C]``."""
    place_boxes: list[torch.Tensor]
    """For each group ``[N, T, 4]``: centre and size, shares of the image. Only in training."""
    logits: torch.Tensor
    """``[L, N, G * Q, C]``."""
    boxes: torch.Tensor
    """``[L, N, G * Q, 4]``."""
    queries: torch.Tensor
    """``[L, N, G * Q, D]``."""
    features: torch.Tensor
    """``[N, D, h, w]``: the map."""
    points: torch.Tensor
    """``[T, 2]``: the middles of the places, in pixels."""
    stride: float
    """From one place to the next, in pixels."""


class OneLevel(nn.Module):
    """The pyramid of our detectors as a backbone: one of its levels, which has seen the coarser ones.

    The library's own backbone is a vision transformer; that has to learn from the data what a convolution is
    given, which it does not from a few hundred pictures.
    """

    def __init__(self, size: Size, level: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(size)
        self.level = level

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``[N, 3, S, S]``, 0 to 255, to ``[N, D, S / stride, S / stride]``."""
        levels: list[torch.Tensor] = self.pyramid(images)
        return levels[self.level]


class RfDetr(nn.Module):
    """The network, from pixels of 0 to 255 to ``Answers``. ``network`` is an ``RfDetrForObjectDetection``."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, network: Any, image_size: int) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size
        step = step_of(network.config)
        self.inner_size = max(1, round(image_size / step)) * step
        """What the backbone can take; others are resized."""
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("spread", torch.tensor(IMAGENET_SPREAD).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> Answers:
        """``images``: ``[N, 3, S, S]``, 0 to 255."""
        model = self.network.model
        features = self._features(images)
        tokens = features.permute(0, 2, 3, 1).flatten(1, 2)
        places, outside = places_of_map(features)
        # Of exported files the number of images stays free: ``len`` would fix it.
        number = images.shape[0]
        inside = tokens if outside is None else tokens.masked_fill(outside, 0.0)
        queries = min(model.num_queries, tokens.shape[1])
        place_logits, place_boxes, starts = [], [], []
        for group in range(model.group_detr if self.training else 1):
            found = model.enc_output_norm[group](model.enc_output[group](inside))
            logits = model.enc_out_class_embed[group](found)
            rank = logits if outside is None else logits.masked_fill(outside, -torch.inf)
            best = rank.amax(-1).topk(queries, 1).indices[..., None]
            place_logits.append(logits)
            if self.training:
                boxes = refined(places, model.enc_out_bbox_embed[group](found))
                place_boxes.append(boxes)
                starts.append(boxes.detach().gather(1, best.expand(-1, -1, 4)))
            else:
                # Only what learns needs to know the boxes of the places that are not chosen.
                found = found.gather(1, best.expand(-1, -1, found.shape[-1]))
                from_here = places.expand(number, -1, -1).gather(1, best.expand(-1, -1, 4))
                starts.append(refined(from_here, model.enc_out_bbox_embed[group](found)))
        first = torch.arange(queries, device=images.device)
        chosen = torch.cat([first + group * model.num_queries for group in range(len(starts))])
        start = refined(torch.cat(starts, 1), model.reference_point_embed.weight[chosen])
        shape = [tuple(features.shape[2:])]
        decoded = model.decoder(
            inputs_embeds=model.query_feat.weight[chosen].expand(number, -1, -1),
            reference_points=start,
            spatial_shapes=torch.tensor(shape, device=images.device),
            spatial_shapes_list=shape,
            level_start_index=torch.zeros(1, dtype=torch.int64, device=images.device),
            valid_ratios=torch.ones(number, 1, 2, dtype=start.dtype, device=images.device),
            encoder_hidden_states=tokens,
            encoder_attention_mask=None,
        ).intermediate_hidden_states
        return Answers(
            place_logits,
            place_boxes,
            self.network.class_embed(decoded),
            refined(start, self.network.bbox_embed(decoded)),
            decoded,
            features,
            places[0, :, :2] * self.image_size,
            self.image_size / features.shape[-1],
        )

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        if self.inner_size != self.image_size:
            size = (self.inner_size, self.inner_size)
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        encoder = self.network.model.backbone
        if isinstance(encoder.backbone, OneLevel):
            maps = (encoder.backbone(images),)
        else:
            maps = encoder.backbone((images - self.mean) / self.spread).feature_maps
        result: torch.Tensor = encoder.projector(maps)
        return result


class ExportedBoxes(nn.Module):
    """The outputs of ``tasks.OUTPUTS`` for detection: the answers of the last layer."""

    def __init__(self, module: RfDetr) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``boxes [N, Q, 4]`` and ``scores [N, Q, C]``."""
        answers = self.module(images)
        boxes = corners(answers.boxes[-1]).clamp(0, 1) * self.module.image_size
        return boxes, answers.logits[-1].float().sigmoid()


def small_config(classes: int, size: Size = NANO) -> RfDetrConfig:
    """Of a network that learns from a few hundred pictures, on a CPU too."""
    from transformers import RfDetrConfig, RfDetrDinov2Config

    # Of this transformer only the width of its maps counts: the pyramid takes its place.
    backbone = RfDetrDinov2Config(
        hidden_size=size.pyramid,
        num_hidden_layers=1,
        num_attention_heads=1,
        patch_size=STRIDES[0],
        num_windows=1,
        image_size=STRIDES[-1],
        out_indices=[1],
    )
    return RfDetrConfig(
        backbone_config=backbone,
        num_labels=classes,
        d_model=96,
        c2f_num_blocks=1,
        decoder_layers=2,
        decoder_ffn_dim=256,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=6,
        intermediate_size=192,
        num_queries=100,
        group_detr=2,
        dropout=0.0,
    )


def random_detector(classes: int) -> Any:
    """A small ``RfDetrForObjectDetection`` of random numbers, with a convolutional backbone."""
    from transformers import RfDetrForObjectDetection

    network: Any = RfDetrForObjectDetection(small_config(classes))
    network.model.backbone.backbone = OneLevel(NANO, 0)
    return network


def step_of(config: RfDetrConfig) -> int:
    """Of which the side of a backbone's input has to be a multiple, in pixels."""
    patch = config.backbone_config.patch_size
    return int((patch if isinstance(patch, int) else patch[0]) * config.backbone_config.num_windows)


def places_of_map(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Boxes that the places of a map start from ``[1, T, 4]``, and which lie at the edge ``[1, T, 1]``: None
    of a map so coarse that none does.
    """
    height, width = features.shape[2:]
    y = (torch.arange(height, device=features.device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=features.device, dtype=torch.float32) + 0.5) / width
    middles = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).view(1, -1, 2)
    places = torch.cat([middles, torch.full_like(middles, START)], -1)
    if max(int(height), int(width)) * EDGE < 0.5:
        return places, None
    outside = ((middles <= EDGE) | (middles >= 1 - EDGE)).any(-1, keepdim=True)
    return places.masked_fill(outside, 0.0), outside


def refined(boxes: torch.Tensor, deltas: torch.Tensor) -> torch.Tensor:
    """Boxes (centre and size) moved by shares of their size and scaled by exp."""
    deltas = deltas.float()
    return torch.cat(
        [deltas[..., :2] * boxes[..., 2:] + boxes[..., :2], deltas[..., 2:].exp() * boxes[..., 2:]], -1
    )
