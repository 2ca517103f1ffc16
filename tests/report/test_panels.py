"""Panels: five pictures side by side, class colours kept, names harmless."""

import io
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from PIL import Image

from mcdist.report.palette import class_colours
from mcdist.report.pictures.panels import panel_files, panel_key, panel_strip, save_panels
from tests.report.fake_run import CLASSES, make_panel


@pytest.mark.parametrize(("height", "width"), [(120, 160), (160, 120), (1, 1), (7, 900), (900, 7)])
def test_a_strip_is_a_png_of_five_pictures_of_any_shape(height: int, width: int) -> None:
    image = Image.open(io.BytesIO(panel_strip(make_panel(height=height, width=width), classes=CLASSES)))
    assert image.format == "PNG" and image.height <= 180 and image.width <= 5 * 326


def test_a_strip_is_the_same_bytes_again() -> None:
    assert panel_strip(make_panel(), classes=CLASSES) == panel_strip(make_panel(), classes=CLASSES)


def test_clusters_and_ground_truth_give_a_class_the_same_colour() -> None:
    panel = make_panel()
    panel = replace(panel, truth=panel.clusters)
    pixels = numpy.asarray(Image.open(io.BytesIO(panel_strip(panel, classes=CLASSES))))[20:]
    width = (pixels.shape[1] + 6) // 5
    assert numpy.array_equal(pixels[:, 3 * width : 4 * width - 6], pixels[:, 4 * width :])


def test_unknown_classes_void_and_not_finite_saliency_are_drawn() -> None:
    panel = make_panel()
    odd = replace(
        panel,
        clusters=numpy.full_like(panel.clusters, 200),
        saliency=numpy.full_like(panel.saliency, numpy.nan),
        proposals=numpy.full_like(panel.proposals, -1),
    )
    assert panel_strip(odd, classes=CLASSES).startswith(b"\x89PNG")


def test_saved_panels_have_harmless_names_and_replace_those_of_before(tmp_path: Path) -> None:
    folder = tmp_path / "panels"
    save_panels([make_panel(seed=place) for place in range(3)], folder, classes=CLASSES)
    written = save_panels([make_panel(key="../../etc/<script>"), make_panel(key="")], folder, classes=CLASSES)
    assert [path.name for path in written] == ["00_______etc__script_.png", "01_photo.png"]
    assert panel_files(folder) == written
    assert panel_key(written[1]) == "photo"


def test_a_class_has_the_same_colour_whatever_the_number_of_classes() -> None:
    assert class_colours(60)[:7] == class_colours(7)
    assert len(set(class_colours(21))) == 21
