"""Freeze: the first blocks of a backbone stay as they start."""

from mcdist.errors import ConfigError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.norms.convert import replace_norms


def freeze_before(backbone: Backbone, *, trainable_from: int) -> int:
    """Keep the blocks before `trainable_from` as they are, running statistics included, also in train mode.

    A negative number counts from the end of the blocks that are used. Returns the number of the first block that trains.

    Raises:
        ConfigError: the network has fewer blocks.
    """
    blocks = backbone.blocks()
    if not -len(blocks) <= trainable_from <= backbone.num_blocks:
        raise ConfigError(
            f"model.trainable_from must be between 0 and {backbone.num_blocks}, the blocks of this backbone, got {trainable_from}; "
            f"from -1 to -{len(blocks)} it counts from the end"
        )
    first = trainable_from if trainable_from >= 0 else len(blocks) + trainable_from
    for block in blocks[:first]:
        replace_norms(block, kind="frozen")
        block.requires_grad_(False)
    return first
