"""spectral_residual: Hou, Zhang, "Saliency Detection: A Spectral Residual Approach", CVPR 2007: what a smooth spectrum does not explain."""

import numpy
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

from mcdist.proposals.classical.saliency import SaliencyMethod, View, scaled

NAME, VERSION = "spectral_residual", "1"


SPECTRUM_PX = 64
"""Long side of the copy whose spectrum is taken (the paper's)."""


def saliency_of(lab: Float32[numpy.ndarray, "h w 3"], *, spectrum_px: int = SPECTRUM_PX) -> Float32[numpy.ndarray, "h w"]:
    """0..1, from the lightness alone."""
    height, width = lab.shape[:2]
    scale = spectrum_px / max(height, width)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    grey = numpy.asarray(Image.fromarray(lab[..., 0]).resize(size, Image.Resampling.BOX))
    spectrum = numpy.fft.fft2(grey)
    strength = numpy.log(numpy.abs(spectrum) + 1e-9)
    residual = strength - ndimage.uniform_filter(strength, size=3, mode="wrap")
    found = numpy.abs(numpy.fft.ifft2(numpy.exp(residual + 1j * numpy.angle(spectrum)))) ** 2
    smooth = ndimage.gaussian_filter(found, sigma=2.5).astype(numpy.float32)
    return scaled(numpy.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BILINEAR)))


class SpectralResidual(SaliencyMethod):
    """See the module."""

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """0..1 at working size."""
        return saliency_of(view.lab, spectrum_px=self.parameters["spectrum_px"])


def make(*, device: str = "cpu", side_px: int = 256, spectrum_px: int = SPECTRUM_PX, threshold: str = "otsu", split: bool = False) -> SpectralResidual:
    """`side_px`: long side of the working copy; `spectrum_px`: of the copy whose spectrum is taken."""
    return SpectralResidual(NAME, VERSION, {"side_px": side_px, "spectrum_px": spectrum_px, "threshold": threshold, "split": split})
