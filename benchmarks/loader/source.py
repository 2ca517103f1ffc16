"""What pipeline.py reads and what a provider gives: the photos in all their forms, and a batch of views."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """One set of photos in all its forms, in one folder."""

    folder: Path

    @property
    def photos(self) -> Path:
        """JPEG files."""
        return self.folder / "photos"

    @property
    def masks(self) -> Path:
        """Instance maps, the photo's name with .png."""
        return self.folder / "masks"

    @property
    def webdataset(self) -> Path:
        """Shards of `mcdist shards build`."""
        return self.folder / "webdataset"

    @property
    def two_crops(self) -> Path:
        """FFCV's own file, each photo twice: FFCV decodes a field once, and two crops want two decoders."""
        return self.folder / "two_crops.beton"

    @property
    def streaming(self) -> Path:
        """Shards of MosaicML's MDSWriter."""
        return self.folder / "streaming"

    def ffcv(self, kept: str) -> Path:
        """FFCV shards of `mcdist shards build`; `kept`: jpg or raw."""
        return self.folder / f"ffcv_{kept}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One batch: both views of `num_photos` photos and their maps; None where the provider has none."""

    num_photos: int
    images: tuple[Tensor, Tensor] | None = None
    instances: tuple[Tensor, Tensor] | None = None
