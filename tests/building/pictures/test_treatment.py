"""What shrinking does to objects is counted, and never silent."""

import json
from pathlib import Path

import numpy

from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from tests.building.made_pictures import save_mask, save_photo


def test_objects_that_shrink_away_are_counted_and_a_photo_without_any_is_skipped(run, tmp_path: Path) -> None:
    values = numpy.zeros((96, 128), dtype=numpy.uint8)
    values[1, 5:8] = 1
    for number in range(2):
        save_photo(tmp_path / "photos" / f"p{number}.jpg", width=128, height=96)
        save_mask(tmp_path / "masks" / f"p{number}.png", values=values)
        values[40:80, 40:80] = 2
    given = ("build", "folder", tmp_path / "photos", "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1, "--short-side", 24)
    done = run(*given, "--max-skipped-share", 0.5)
    assert done.exit_code == 0 and "objects too small for --short-side were lost: 1 photos" in done.output
    ((photo, reason),) = read_manifest(tmp_path / "out").skipped
    assert photo == "p0.jpg"
    assert reason == "no object of the photo is left at 32 x 24; choose a larger --short-side, or keep such photos with --keep-empty"
    info = json.loads(WebDatasetReader(tmp_path / "out").members(0)["json"])
    assert (info["photo"], info["num_objects"]) == ("p1.jpg", 1)
    assert run(*given, "--keep-empty", "--overwrite").exit_code == 0
    counts = [json.loads(WebDatasetReader(tmp_path / "out").members(index)["json"])["num_objects"] for index in range(2)]
    assert counts == [0, 1]
