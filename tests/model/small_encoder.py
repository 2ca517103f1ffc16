"""A small encoder, for tests that do not care which one it is."""

from mcdist.choices import DecoderKind
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.decoder import make_decoder
from mcdist.model.encoder import Encoder


def small_encoder(decoder: DecoderKind = "deeplabv3", *, name: str = "resnet18") -> Encoder:
    """Three stages of a backbone, a narrow decoder and 8 dimensions."""
    backbone = make_backbone(name, num_stages=3)
    module, channels = make_decoder(decoder, num_channels=backbone.num_channels, width=16, atrous_rates=[1, 2], dropout=0.0)
    return Encoder(backbone, decoder=module, decoder_channels=channels, embedding_dim=8)
