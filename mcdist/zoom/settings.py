"""Settings of the object zoom, checked when they are made."""

from dataclasses import dataclass

from mcdist.choices import ZoomBackground, require_choice
from mcdist.errors import ConfigError

WIDER = 1.4
"""Each further pair of views has so much more margin than the one before: 1.15, 1.61, 2.25."""
MAX_VIEWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomSettings:
    """How an object is cut out and seen.

    `size_px`: side of the picture that the backbone sees. `margin`: side of the square that is cut, over the longest side of the object.
    `background`: keep, or grey: all that is not the object takes the mean colour. `num_views`: 1 the object as it is, 2 also mirrored, then the same
    pairs with wider margins. `max_objects`: objects of a photo; the largest are kept. `batch`: pictures at a time, which changes time and rounding only.
    """

    size_px: int = 224
    margin: float = 1.15
    background: ZoomBackground = "keep"
    num_views: int = 2
    max_objects: int = 8
    batch: int = 32

    def __post_init__(self) -> None:
        require_choice("zoom_background", self.background, choices=ZoomBackground)
        for name in ("size_px", "max_objects", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of the object zoom must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.margin < float("inf"):
            raise ConfigError(f"zoom_margin must be a number of at least 1, got {self.margin}")
        if not 1 <= self.num_views <= MAX_VIEWS:
            raise ConfigError(f"zoom_views must be between 1 and {MAX_VIEWS}, got {self.num_views}")

    @property
    def margins(self) -> tuple[float, ...]:
        """Of the cuts; each gives one view, or two with its mirror image."""
        return tuple(self.margin * WIDER**pair for pair in range((self.num_views + 1) // 2))
