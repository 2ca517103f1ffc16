"""Tiny ViTs of timm with random weights, made without any download."""

from typing import Any

import pytest
import torch

from mcdist.model.backbones.vit import ViT

SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 0, "dynamic_img_size": True}


def tiny_vit(name: str = "vit_tiny_patch16_224", **options: Any) -> ViT:
    """A ViT of 32 channels and three blocks, with any of timm's options changed; skips the test where timm is missing."""
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    torch.manual_seed(0)
    return ViT(timm.create_model(name, **{**SMALL, **options})).eval()
