"""frequency_tuned: Achanta, Hemami, Estrada, Suesstrunk, "Frequency-tuned Salient Region Detection", CVPR 2009: distance to the photo's mean colour."""

import numpy
from jaxtyping import Float32
from scipy import ndimage

from mcdist.proposals.classical.saliency import SaliencyMethod, View, scaled

NAME, VERSION = "frequency_tuned", "1"


def saliency_of(lab: Float32[numpy.ndarray, "h w 3"]) -> Float32[numpy.ndarray, "h w"]:
    """0..1: distance of the slightly smoothed photo to its mean colour."""
    smooth = ndimage.gaussian_filter(lab, sigma=(1, 1, 0))
    return scaled(numpy.linalg.norm(smooth - lab.mean(axis=(0, 1)), axis=-1))


class FrequencyTuned(SaliencyMethod):
    """See the module."""

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """0..1 at working size."""
        return saliency_of(view.lab)


def make(*, device: str = "cpu", side_px: int = 256, threshold: str = "otsu", split: bool = False) -> FrequencyTuned:
    """`side_px`: long side of the working copy."""
    return FrequencyTuned(NAME, VERSION, {"side_px": side_px, "threshold": threshold, "split": split})
