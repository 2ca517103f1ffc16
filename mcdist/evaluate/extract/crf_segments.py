"""CrfSegments: what the group head makes of a photo, after a CRF at the photo's own size."""

import torch
from jaxtyping import Float, Int16, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, logsigmoid

from mcdist.crf.mean_field import crf
from mcdist.crf.settings import CrfSettings


def crf_map(
    groups: Float[Tensor, "K1 h w"], *, foreground: Float[Tensor, "h w"] | None, image: UInt8[Tensor, "3 S S"], size: tuple[int, int], settings: CrfSettings
) -> Int16[Tensor, "H W"]:
    """Each pixel's group: 0 background, 1..K.

    `groups`: logits of one set, background first. `foreground`: logits of another head above which there is an object; they replace the background's: the
    log-probability of group k is log P(object) + log P(k | object). All are upsampled bilinearly to `size`, the photo's own, and so is the image, which
    was resized to a square before it was embedded.
    """
    if foreground is None:
        log_probability = groups.log_softmax(dim=0)
    else:
        log_probability = torch.cat([logsigmoid(-foreground)[None], logsigmoid(foreground) + groups[1:].log_softmax(dim=0)])
    large = interpolate(log_probability[None], size=size, mode="bilinear", align_corners=False)
    photo = interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False).round().to(torch.uint8)
    return crf(large, photos=photo, settings=settings)[0].argmax(dim=0).to(torch.int16)
