"""The Python twin: a run that is loaded segments, embeds and searches photos of any kind, as the commands do."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mcdist
from mcdist.cli.main import app
from mcdist.errors import ConfigError, DataError
from mcdist.loading import LoadedRun, pixels_of, point_of
from mcdist.run_dir import RunDir
from mcdist.segments.strip import picture_format, search_strip


@pytest.fixture(scope="module")
def run(run_dir: RunDir) -> LoadedRun:
    return mcdist.load(run_dir.root, device="cpu")


@pytest.fixture(scope="module")
def photo(run: LoadedRun) -> numpy.ndarray:
    """A training photo with at least one object, as pixels [H, W, 3]."""
    return run.photo(int(run.catalogue.objects.photo[0]))


def test_importing_mcdist_imports_no_torch() -> None:
    subprocess.run([sys.executable, "-c", "import mcdist, sys; assert 'torch' not in sys.modules and callable(mcdist.load)"], check=True, timeout=60)


def test_a_photo_is_the_same_as_file_picture_array_and_tensor(run: LoadedRun, photo: numpy.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    kinds: list[Any] = [tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(photo), photo, torch.from_numpy(photo.copy()).permute(2, 0, 1)]
    first, *others = [run.segment(kind) for kind in kinds]
    assert first.segments and first.instances.shape == photo.shape[:2]
    for other in others:
        assert numpy.array_equal(first.instances, other.instances)
        assert [one.confidence for one in first.segments] == [one.confidence for one in other.segments]


def test_the_embedding_has_a_unit_vector_a_cell(run: LoadedRun, photo: numpy.ndarray) -> None:
    embedded = run.embed(photo)
    assert embedded.shape == (8, 4, 4) and torch.allclose(embedded.norm(dim=0), torch.ones(4, 4), atol=1e-5)


def test_a_segment_of_a_training_photo_finds_itself_first(run: LoadedRun, photo: numpy.ndarray) -> None:
    segment = run.segment(photo).segments[0]
    rows, columns = numpy.nonzero(run.segment(photo).mask(segment))
    found = run.search(photo, (int(columns[0]), int(rows[0])), num=4)
    assert found.segment is not None and (found.segment.number, len(found.hits)) == (segment.number, 4)
    best = found.hits[0]
    assert best.similarity == pytest.approx(1, abs=1e-4) and run.catalogue.photos[best.photo_index] == best.photo
    assert [hit.similarity for hit in found.hits] == sorted((hit.similarity for hit in found.hits), reverse=True)


def test_background_is_searched_with_the_pixel_itself(run: LoadedRun, photo: numpy.ndarray) -> None:
    outside = numpy.argwhere(run.segment(photo).instances == 0)
    if not len(outside):
        pytest.skip("this run's encoder sees no background")
    y, x = outside[0].tolist()
    found = run.search(photo, (x, y), num=1)
    assert found.segment is None and len(found.hits) == 1


@pytest.mark.parametrize("xy", [(-1, 0), (0, -1), (52, 0), (0, 40)])
def test_a_point_outside_the_photo_is_refused_with_its_size(run: LoadedRun, photo: numpy.ndarray, xy: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"in the photo, of 52 x 40 px \(x 0\.\.51, y 0\.\.39\); got"):
        run.search(photo, xy)


@pytest.mark.parametrize(
    "bad",
    [numpy.zeros((4, 4, 4), dtype=numpy.uint8), numpy.zeros((4, 4, 3)), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), numpy.zeros((0, 4, 3), dtype=numpy.uint8)],
)
def test_pixels_of_another_shape_or_type_are_refused(bad: numpy.ndarray | torch.Tensor) -> None:
    with pytest.raises(DataError, match="a photo must be uint8"):
        pixels_of(bad)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["list"]])
def test_what_is_no_photo_at_all_is_refused_with_its_type(bad: object) -> None:
    with pytest.raises(DataError, match=f"a photo must be a path, a PIL image, an array .*; got {type(bad).__name__}"):
        pixels_of(bad)


@pytest.mark.parametrize("bad", [None, 3, (1,), (1, 2, 3), ("1", "2"), (1.5, 2), "12"])
def test_a_point_that_is_not_two_whole_numbers_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"the point must be two whole numbers \(x, y\), .* such as \(120, 80\); got"):
        point_of(bad)


def test_a_point_may_be_whole_numbers_of_any_kind() -> None:
    assert point_of([numpy.int64(3), torch.tensor(4)]) == (3, 4)


def test_a_file_that_is_no_photo_is_refused(run: LoadedRun, photos: Path) -> None:
    with pytest.raises(DataError, match="the photo .*cut.jpg is damaged"):
        run.segment(photos / "cut.jpg")


def test_large_photos_are_seen_through_windows_and_small_ones_whole(run: LoadedRun, photo: numpy.ndarray) -> None:
    large = numpy.tile(photo, (3, 4, 1))
    through = run.segment(large, window_px=40)
    assert through.instances.shape == large.shape[:2] == (120, 208)
    assert numpy.array_equal(run.segment(photo, window_px=100).instances, run.segment(photo).instances)


def test_the_command_prints_a_table_or_json_and_draws(run_dir: RunDir, photo: numpy.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    arguments = ["search", str(run_dir.root), str(tmp_path / "photo.png"), "--at", "12,12", "--num", "3", "--device", "cpu"]
    table = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "strip.png")])
    assert table.exit_code == 0 and "similarity" in table.stdout and len(table.stdout.splitlines()) == 6
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.width > 4 * 160
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert len(found["hits"]) == 3 and found["hits"][0]["similarity"] >= found["hits"][2]["similarity"]
    assert CliRunner().invoke(app, [*arguments[:4], "12"]).exit_code == 2
    assert all(hit["photo"] and hit["path"] is None for hit in found["hits"]), "these shards do not say where their photos came from"


@pytest.mark.parametrize(("name", "kind"), [("strip.jpg", "JPEG"), ("strip.JPEG", "JPEG"), ("strip.webp", "WEBP"), ("strip.png", "PNG")])
def test_the_picture_has_the_format_that_its_name_says(name: str, kind: str, photo: numpy.ndarray) -> None:
    content = search_strip(photo, point=(3, 4), found=[((photo, (0.0, 0.0, 1.0, 1.0)), "0.9 cat")], kind=picture_format(Path(name)))
    with Image.open(io.BytesIO(content)) as strip:
        assert strip.format == kind


@pytest.mark.parametrize("name", ["strip.gif", "strip", "strip.png.txt"])
def test_a_picture_of_an_unknown_ending_is_refused_before_anything_is_read(name: str) -> None:
    result = CliRunner().invoke(app, ["search", "no run", "no photo", "--at", "1,1", "--out", name])
    assert result.exit_code == 2 and "--out must end in .png, .jpg, .jpeg, .webp" in " ".join(result.output.split())
