"""Freeze: the first blocks of a backbone stay as they start."""

from mcdist.errors import ConfigError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.norms.convert import replace_norms


def freeze_before(backbone: Backbone, *, trainable_from: int) -> None:
    """Keep the blocks before `trainable_from` as they are, running statistics included, also in train mode.

    Raises:
        ConfigError: the network has fewer blocks.
    """
    if not 0 <= trainable_from <= backbone.num_blocks:
        raise ConfigError(f"model.trainable_from must be between 0 and {backbone.num_blocks}, the blocks of this backbone, got {trainable_from}")
    for block in backbone.blocks()[:trainable_from]:
        replace_norms(block, kind="frozen")
        block.requires_grad_(False)
