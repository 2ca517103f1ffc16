"""Optional packages do what we need of them, where they are installed."""

import configparser
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from tests.makers.ffcv_or_skip import ffcv_or_skip

ROOT = Path(__file__).resolve().parents[2]


def rows() -> list[tuple[numpy.ndarray, numpy.ndarray]]:
    """Four photos and four byte strings, all different. Lengths are equal: a batch of bytes is one array."""
    random = numpy.random.default_rng(0)
    return [(random.integers(0, 256, (24, 32, 3), dtype=numpy.uint8), random.integers(0, 256, 50, dtype=numpy.uint8)) for _ in range(4)]


def write_beton(path: Path) -> None:
    """One worker: the writer waits for ever for a worker that raised."""
    from ffcv.fields import BytesField, RGBImageField
    from ffcv.writer import DatasetWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = DatasetWriter(str(path), {"photo": RGBImageField(write_mode="raw"), "masks": BytesField()}, num_workers=1)
        writer.from_indexed_dataset(rows(), chunksize=4)


def read_beton(path: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All rows in order, in batches of two."""
    from ffcv.fields.bytes import BytesDecoder
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    pipelines = {"photo": [SimpleRGBImageDecoder(), ToTensor()], "masks": [BytesDecoder(), ToTensor()]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = Loader(str(path), batch_size=2, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines)
        return [(photo.clone(), masks.clone()) for photos, many in loader for photo, masks in zip(photos, many, strict=True)]


def test_ffcv_reads_back_the_photos_and_bytes_it_wrote(tmp_path):
    ffcv_or_skip()
    path = tmp_path / "four.beton"
    write_beton(path)
    read = read_beton(path)
    assert len(read) == 4
    for (photo, masks), (wanted_photo, wanted_masks) in zip(read, rows(), strict=True):
        assert numpy.array_equal(photo.numpy(), wanted_photo)
        assert numpy.array_equal(masks.numpy()[: len(wanted_masks)], wanted_masks)


def test_every_install_line_in_a_message_names_an_extra_that_exists() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    sources = "".join(path.read_text() for path in (ROOT / "mcdist").rglob("*.py"))
    named = set(re.findall(r"pip install 'mcdist\[([a-z0-9-]+)\]'", sources))
    assert named >= {"coco", "deepspeed", "faiss-cpu", "saliency", "sam", "slurm", "vit"}
    assert named <= set(setup["options.extras_require"])


@pytest.mark.parametrize(
    ("package", "words", "line"),
    [
        ("submitit", ["launch", "--dry-run", "demo"], "pip install 'mcdist[slurm]'"),
        ("faiss", ["demo", "--out", "there"], "pip install 'mcdist[faiss-cpu]'"),
        ("cv2", ["proposals", "make", "motion", "photos", "--out", "there"], "pip install 'mcdist[motion]'"),
        (
            "segment_anything",
            ["proposals", "make", "sam", "photos", "--out", "there", "--option", "model=vit_b", "--option", "weights=photos/a.jpg"],
            "pip install 'mcdist[sam]'",
        ),
    ],
)
def test_a_command_without_its_package_says_in_one_line_how_to_get_it(package: str, words: list[str], line: str, tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(f"import sys\nsys.modules['{package}'] = None\n")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "a.jpg")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "path"), str(ROOT)])}
    done = subprocess.run([sys.executable, "-m", "mcdist", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 6, done.stderr
    assert done.stderr.startswith("mcdist: ") and done.stderr.count("\n") == 1 and line in done.stderr
    assert not list(tmp_path.glob("there/**/*.png")) and not list(tmp_path.glob("there/**/*.tar"))
