"""crf: the fully connected conditional random field of `mcdist.crf`, with the parameters that the field's papers evaluate with.

These are in pixels of photos as large as those of PASCAL VOC, so larger ones are shrunk to that size first; it also bounds time and memory.
"""

import numpy
import torch
from PIL import Image

from mcdist.crf.mean_field import crf
from mcdist.proposals.classical.saliency import enlarged, shrunk
from mcdist.proposals.proposal import Pixels, Proposal
from mcdist.proposals.refinement.layers import layers_of, objects_from_layers

SIDE_PX = 500
SURE = 0.75
"""How far the proposal is trusted: a pixel's chance to be what the proposal says."""


def refine(photo: Pixels, proposal: Proposal) -> Proposal:
    """Each object and the background is a label; void pixels stay as they are."""
    layers = layers_of(proposal)
    if layers is None:
        return proposal
    small = shrunk(photo, side_px=SIDE_PX)
    size = small.shape[1], small.shape[0]
    shares = numpy.stack([numpy.asarray(Image.fromarray(layer).resize(size, Image.Resampling.BOX)) for layer in layers]).clip(0, 1)
    labels = numpy.concatenate([(1 - shares.sum(axis=0, keepdims=True)).clip(0, 1), shares])
    low = (1 - SURE) / (len(labels) - 1)
    log_probability = torch.from_numpy(numpy.log(low + labels * (SURE - low)))
    with torch.inference_mode():
        found = crf(log_probability[None], photos=torch.from_numpy(numpy.ascontiguousarray(small)).permute(2, 0, 1)[None])[0, 1:].numpy()
    height, width = photo.shape[:2]
    return objects_from_layers(numpy.stack([enlarged(layer, height=height, width=width) for layer in found]), before=proposal)
