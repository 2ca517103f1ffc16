"""Is the CRF in torch as fast as pydensecrf2, and does it give the same segments?

    python -m benchmarks.crf.crf --photos data/photos --masks data/masks --json benchmarks/crf/results/crf.json

Unary terms are masks shrunk to a tenth and enlarged again, the object shared out at random among the labels but the first. Both run the same 10
iterations with the same parameters, one thread each, in turn on each photo. Processor time of the process is what is compared, so that a busy machine
changes little; it includes the lattice and the kernels' norms. A photo on which fewer than 99 % of the pixels get the same label ends the benchmark.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer
from PIL import Image

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist.crf.mean_field import crf
from mcdist.crf.settings import CrfSettings
from mcdist.data.pictures.folder import pictures_in, stem_of
from mcdist.errors import DataError, MissingExtraError

AGREEMENT_MIN = 0.99
SHRUNK_BY = 10


def rough_unary(mask: Path, *, num_labels: int) -> numpy.ndarray:
    """Log-probabilities [L, H, W] of a mask that lost its edges."""
    with Image.open(mask) as opened:
        whole = Image.fromarray((numpy.asarray(opened.convert("L")) > 0).astype(numpy.float32))
    small = whole.resize((max(1, whole.width // SHRUNK_BY), max(1, whole.height // SHRUNK_BY)), Image.Resampling.BOX)
    inside = numpy.asarray(small.resize(whole.size, Image.Resampling.BICUBIC)).clip(0.02, 0.98)
    shares = numpy.random.default_rng(0).dirichlet(numpy.ones(num_labels - 1), size=(8, 8)).astype(numpy.float32)
    rows, columns = (numpy.linspace(0, 7, size).round().astype(int) for size in inside.shape)
    return numpy.log(numpy.concatenate([(1 - inside)[None], inside * shares[rows[:, None], columns].transpose(2, 0, 1)]) + 1e-3)


def ours(unary: numpy.ndarray, photo: numpy.ndarray, *, settings: CrfSettings) -> numpy.ndarray:
    """The field in torch."""
    return crf(torch.from_numpy(unary)[None], photos=torch.from_numpy(photo.transpose(2, 0, 1).copy())[None], settings=settings)[0].numpy()


def reference(unary: numpy.ndarray, photo: numpy.ndarray, *, settings: CrfSettings) -> numpy.ndarray:
    """pydensecrf2's."""
    from pydensecrf import densecrf

    num_labels, height, width = unary.shape
    field = densecrf.DenseCRF2D(width, height, num_labels)
    field.setUnaryEnergy(numpy.ascontiguousarray(-settings.alpha * unary.reshape(num_labels, -1)))
    field.addPairwiseGaussian(sxy=settings.near_px, compat=settings.near_weight)
    field.addPairwiseBilateral(sxy=settings.alike_px, srgb=settings.alike_colour, rgbim=numpy.ascontiguousarray(photo), compat=settings.alike_weight)
    return numpy.array(field.inference(settings.iterations)).reshape(unary.shape)


def timed(action: Callable[[], numpy.ndarray]) -> tuple[numpy.ndarray, float]:
    """What it returned, and milliseconds of processor time."""
    began_s = time.process_time()
    found = action()
    return found, 1000 * (time.process_time() - began_s)


def benchmark(
    photos: Annotated[Path, typer.Option(metavar="DIR", help="Photos.")],
    masks: Annotated[Path, typer.Option(metavar="DIR", help="A mask under each photo's path, with .png.")],
    num_photos: Annotated[int, typer.Option(min=1)] = 20,
    labels: Annotated[list[int] | None, typer.Option(min=2, help="Number of labels; repeat for several.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the rows.")] = None,
) -> None:
    """Compare on photos spread over the folder."""
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("this benchmark compares with pydensecrf2, which is not installed; pip install -c constraints.txt pydensecrf2") from error
    torch.set_num_threads(1)
    names = [name for name in pictures_in(photos) if (masks / f"{stem_of(name)}.png").is_file()]
    if not names:
        raise DataError(f"expected masks of the photos of {photos} in {masks}, found none; give folders with the same paths")
    chosen = [names[place] for place in numpy.unique(numpy.linspace(0, len(names) - 1, num_photos).round().astype(int)).tolist()]
    rows: list[Measurement] = []
    for num_labels in labels or [2, 7, 21]:
        rows += _compared(chosen, photos=photos, masks=masks, num_labels=num_labels)
    publish(rows, json_path=json_path)


def _compared(names: list[str], *, photos: Path, masks: Path, num_labels: int) -> list[Measurement]:
    settings = CrfSettings()
    taken: dict[str, list[float]] = {"mcdist": [], "pydensecrf2": []}
    agreement, changed, num_pixels = [], [], []
    for place, name in enumerate(names):
        with Image.open(photos / name) as opened:
            photo = numpy.array(opened.convert("RGB"))
        unary = rough_unary(masks / f"{stem_of(name)}.png", num_labels=num_labels)
        if place == 0:
            ours(unary, photo, settings=settings)  # code and threads
        found, our_ms = timed(lambda: ours(unary, photo, settings=settings))  # noqa: B023
        expected, their_ms = timed(lambda: reference(unary, photo, settings=settings))  # noqa: B023
        agreement.append(float((found.argmax(axis=0) == expected.argmax(axis=0)).mean()))
        changed.append(float((expected.argmax(axis=0) != unary.argmax(axis=0)).mean()))
        if agreement[-1] < AGREEMENT_MIN:
            raise DataError(f"on {name} with {num_labels} labels {100 * agreement[-1]:.2f} % of the pixels have the reference's label, expected 99 %")
        taken["mcdist"].append(our_ms)
        taken["pydensecrf2"].append(their_ms)
        num_pixels.append(unary[0].size)
    ratios = [their_ms / our_ms for our_ms, their_ms in zip(taken["mcdist"], taken["pydensecrf2"], strict=True)]
    facts = {"benchmark": "crf", "shape": f"{num_labels} labels, {len(names)} photos of {int(numpy.median(num_pixels)):,} pixels (median)"}
    device = torch.device("cpu")
    return [
        *(
            measurement(values, provider=provider, mode="a photo", metric="processor time", unit="ms", device=device, **facts)
            for provider, values in taken.items()
        ),
        measurement(ratios, provider="mcdist", mode="a photo", metric="times as fast", unit="", device=device, **facts),
        measurement([100 * one for one in agreement], provider="mcdist", mode="same label", metric="pixels", unit="%", device=device, **facts),
        measurement([100 * one for one in changed], provider="pydensecrf2", mode="changed label", metric="pixels", unit="%", device=device, **facts),
    ]


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    photos, masks = inputs.photos_and_masks(folder, num_photos=2)
    return ["--photos", photos, "--masks", masks, "--labels", "2"]


if __name__ == "__main__":
    run(benchmark, quick=quick)
