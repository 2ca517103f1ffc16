"""Classes of pixels against torch's own upsampling."""

import numpy
import pytest
import torch
from torch.nn.functional import interpolate

from mcdist.evaluate.probes import upsampled
from mcdist.evaluate.probes.upsampled import pixel_classes


@pytest.mark.parametrize("size_px", [(12, 20), (7, 5), (33, 1)])
@pytest.mark.parametrize("at_once", [1, 2**23])
def test_they_are_the_largest_of_torchs_upsampled_logits(size_px: tuple[int, int], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsampled, "LOGITS_AT_ONCE", at_once)
    logits = numpy.random.default_rng(0).normal(size=(4, 5, 6)).astype(numpy.float32)
    expected = interpolate(torch.from_numpy(logits).permute(2, 0, 1)[None], size=size_px, mode="bilinear", align_corners=False)[0].argmax(dim=0)
    assert numpy.array_equal(pixel_classes(logits, size_px=size_px), expected.numpy())
