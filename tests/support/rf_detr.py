"""A tiny RF-DETR of transformers, with the library's own transformer. Needs the extra ``train``."""

from __future__ import annotations

from typing import Any


def tiny_rf_detr(model_class: str, classes: int = 5, **changes: Any) -> Any:
    """Windows and all; its input is a multiple of 24 pixels."""
    import torch
    import transformers

    torch.manual_seed(0)
    backbone = transformers.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        patch_size=12,
        num_windows=2,
        image_size=96,
        out_indices=[2, 4],
    )
    config = transformers.RfDetrConfig(
        backbone_config=backbone,
        num_labels=classes,
        d_model=32,
        c2f_num_blocks=1,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=4,
        num_queries=20,
        group_detr=3,
        **changes,
    )
    made = getattr(transformers, model_class)(config)
    with torch.no_grad():
        for parameter in made.parameters():
            # Heads that start at 0 would hide what differs.
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return made.eval()
