"""Section `views`: how the two views of a photo are drawn."""

from dataclasses import dataclass

from mcdist.choices import CacheDtype
from mcdist.config.checks import at_least, check_fields, require, share, written_out

MOST_CACHED_OBJECTS = 127
"""The cache of views keeps object numbers in 8 bits."""


@dataclass(frozen=True, slots=True)
class ViewsConfig:
    """Science: how the two views of a photo are drawn; efficiency: cache_dir and cache_dtype. Defaults are the paper's."""

    size_px: int = 224
    """A multiple of the backbone's stride."""
    crop_scale_min: float = 0.2
    crop_scale_max: float = 1.0
    flip_probability: float = 0.5
    jitter_probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grey_probability: float = 0.2
    blur_probability: float = 0.0
    """Of a Gaussian blur, sigma 0.1 to 2 px; beyond the paper."""
    foreground_min: float = 0.01
    """A view with a smaller share of foreground is drawn again."""
    foreground_max: float = 0.99
    max_redraws: int = 10
    """After that the sample keeps its place and takes part without foreground."""
    max_objects: int = 8
    """Objects per photo; where there are more, the largest are kept and the others become void."""
    cached: int = 0
    """n > 0: the backbone's features of each photo's first n pairs of views are made once and kept on disk, and epoch e trains on pair e mod n: no
    photo is decoded and no backbone runs in a step. Needs a backbone that does not train (model.trainable_from); beyond the paper."""
    cache_dir: str = ""
    """Folder for these features, which runs of equal photos, views and backbone share; $NAME is an environment variable. Empty: views/ in the run folder."""
    cache_dtype: CacheDtype = "fp16"
    """fp16 | fp32 (twice the disk; a step then computes what it would compute from the photos, bit for bit)."""

    def __post_init__(self) -> None:
        check_fields(self, section="views")
        at_least("views.size_px", self.size_px, 1)
        shares = ("flip_probability", "jitter_probability", "grey_probability", "blur_probability", "foreground_min", "foreground_max")
        for name in (*shares, "brightness", "contrast", "saturation"):
            share(f"views.{name}", getattr(self, name))
        require(
            0 < self.crop_scale_min <= self.crop_scale_max <= 1,
            f"views.crop_scale_min and views.crop_scale_max must satisfy 0 < min <= max <= 1, got min {self.crop_scale_min} and max {self.crop_scale_max}",
        )
        require(0 <= self.hue <= 0.5, f"views.hue must be between 0 and 0.5, got {self.hue}")
        at_least("views.max_redraws", self.max_redraws, 0)
        at_least("views.max_objects", self.max_objects, 1)
        at_least("views.cached", self.cached, 0)
        written_out("views.cache_dir", self.cache_dir, variables=True)
        require(
            self.cached == 0 or self.max_objects <= MOST_CACHED_OBJECTS,
            f"views.cached={self.cached} needs views.max_objects <= {MOST_CACHED_OBJECTS}, got {self.max_objects}",
        )
