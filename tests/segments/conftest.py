from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from mcdist.run_dir import RunDir
from tests.catalogue.catalogued_run import catalogued_run
from tests.fixture_types import ShardsAt


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory, shards_at: ShardsAt) -> RunDir:
    """A run with a catalogue; not to be changed."""
    return catalogued_run(tmp_path_factory.mktemp("segments"), shards_at=shards_at)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of every mode, size and orientation, some of one name but for the suffix, and three that are none."""
    root = tmp_path_factory.mktemp("photos")
    random = numpy.random.default_rng(0)

    def pixels(height: int, width: int) -> numpy.ndarray:
        picture = random.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
        picture[height // 4 : height // 2, width // 4 : width // 2, 0] = 40
        return picture

    (root / "deep" / "er").mkdir(parents=True)
    Image.fromarray(pixels(40, 52)).save(root / "a.jpg")
    Image.fromarray(pixels(40, 52)).save(root / "a.png")
    Image.fromarray(pixels(33, 70)).convert("L").save(root / "deep" / "grey.png")
    Image.fromarray(pixels(48, 48)).convert("RGBA").save(root / "deep" / "see through.png")
    Image.fromarray(pixels(64, 40)).convert("CMYK").save(root / "deep" / "er" / "cmyk.jpg")
    Image.fromarray(pixels(30, 30)).convert("P").save(root / "deep" / "er" / "palette é.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(20, 60)).save(root / "turned.jpg", exif=exif)
    Image.fromarray(pixels(1, 1)).save(root / "dot.png")
    Image.fromarray(pixels(8, 400)).save(root / "wide.png")
    (root / "cut.jpg").write_bytes((root / "a.jpg").read_bytes()[:300])
    (root / "empty.png").write_bytes(b"")
    Image.fromarray(pixels(9, 9)).save(root / "other.gif")
    return root


@pytest.fixture(scope="session")
def num_sound() -> int:
    """Of `photos`, those that can be segmented."""
    return 9


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A story sets the process's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
