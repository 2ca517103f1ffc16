"""Section `model`: the encoder and what it starts from."""

from dataclasses import dataclass, field

from mcdist.choices import BankDtype, DecoderKind, EmbeddingFrom, FinalNorm, MomentumBuffers, Norm, PixelStatistics, PositionDebias
from mcdist.config.checks import above, at_least, check_fields, require, share, written_out


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Science: the encoder and what it starts from."""

    backbone: str = "resnet50"
    """resnet18 | resnet34 | resnet50 | resnet101 | convnext_tiny | convnext_small | convnext_base | efficientnet_lite0, each dilated to stride 8 |
    moco_v3_vit_small | moco_v3_vit_base | franca_vit_base | franca_vit_large | franca_vit_giant | timm/NAME: a plain ViT of timm, whose stride is its
    patch size, or any network of timm that returns feature maps, on the grid of stride 8 (all but ResNets beyond the paper)."""
    weights: str = "none"
    """none | imagenet (packaged, efficientnet_lite0 only) | hub (fetched by torchvision or timm) | the name of a published file, such as moco_v2_r50 |
    PATH of a .pth or .safetensors file, in its publisher's layout."""
    pixel_statistics: PixelStatistics = "auto"
    """auto (those that belong to the backbone's name) | imagenet | half (0.5) | clip | satellite: of the pixels that the weights were trained on."""
    num_stages: int = 0
    """Backbone blocks used, counted from the photo; 0: all. A CNN has 5, its stages: with 3 it ends where stride 8 is reached, small and fast.
    A ViT has its transformer blocks and one more before them, the embedding. Beyond the paper."""
    levels: int = 1
    """The last feature maps of the backbone that are joined along their channels; they are on one grid. 1: the last alone. A CNN's stages 3 to 5 share
    a grid: with 2 an efficientnet_lite0 has 112 + 320 channels. Beyond the paper."""
    final_norm: FinalNorm = "last"
    """What a ViT's final norm is applied to: last (the tokens after its last block) | all (those of every joined level) | none; beyond the paper."""
    position_debias: PositionDebias = "none"
    """What a frozen ViT's features say about the position alone is taken from them: none | mean (a regression on the place of the mean features of noise is
    subtracted) | svd (the directions in which those differ between places are taken away); beyond the paper."""
    decoder: DecoderKind = "deeplabv3"
    """deeplabv3 | separable (channels standardised, a 1 x 1 convolution and a depthwise 3 x 3 one, decoder_width wide: small and fast; beyond the
    paper) | linear (one 1 x 1 convolution; beyond the paper)."""
    embedding_from: EmbeddingFrom = "decoder"
    """decoder (the paper) | backbone (the embedding is linear in the backbone, only the saliency head uses the decoder; beyond the paper)."""
    decoder_width: int = 256
    atrous_rates: list[int] = field(default_factory=lambda: [12, 24, 36])
    dropout: float = 0.0
    embedding_dim: int = 32
    norm: Norm = "batch"
    """batch (statistics of each rank's own images, as the paper's code) | sync (of all ranks' images) | shuffled (batch, but key images change
    ranks before the key encoder, so that an image's two views are not normalised beside the same others; MoCo) | group | frozen (running
    statistics, affine fixed)."""
    recompute: bool = False
    """Efficiency: activations of each backbone block and of the decoder are computed again in the backward pass, not kept."""
    trainable_from: int = 0
    """Backbone blocks before this one stay as they start (0: all train; 5 for a CNN: none trains; -2: only the last two train); beyond the paper."""
    lora_rank: int = 0
    """0 | rank of what the attention of a ViT's blocks from trainable_from on learns on top of its weights, all of which are frozen (LoRA); beyond the
    paper."""
    lora_alpha: float = 16.0
    """That difference is multiplied by lora_alpha / lora_rank."""
    momentum: float = 0.999
    """Of the key encoder's moving average."""
    momentum_buffers: MomentumBuffers = "own"
    """own (the paper: each encoder keeps its own running statistics) | copy (the key encoder takes the query's)."""
    bank_size: int = 128
    """Rows of the memory bank; 0 for none."""
    bank_dtype: BankDtype = "fp32"
    """fp32 | bf16: how the bank's rows are stored; bf16 takes half the memory and rounds them to 8 bits (beyond the paper)."""

    def __post_init__(self) -> None:
        check_fields(self, section="model")
        written_out("model.weights", self.weights)
        share("model.momentum", self.momentum)
        share("model.dropout", self.dropout)
        at_least("model.decoder_width", self.decoder_width, 1)
        at_least("model.embedding_dim", self.embedding_dim, 1)
        at_least("model.bank_size", self.bank_size, 0)
        require(
            bool(self.atrous_rates) and all(rate >= 1 for rate in self.atrous_rates),
            f"model.atrous_rates must be a list of whole numbers >= 1, got {self.atrous_rates}",
        )
        at_least("model.num_stages", self.num_stages, 0)
        at_least("model.levels", self.levels, 1)
        at_least("model.lora_rank", self.lora_rank, 0)
        above("model.lora_alpha", self.lora_alpha, 0)
        require(
            self.lora_rank == 0 or self.position_debias == "none",
            f"model.position_debias={self.position_debias} is measured once, so the backbone must not change: it needs model.lora_rank=0, got {self.lora_rank}",
        )
