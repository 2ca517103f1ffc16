"""The pages in a real browser: no error on its console, nothing wider than a telephone, on light and dark ground, and printed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from mcdist.records.object_map import ObjectMap, Projection
from mcdist.report.page.compare import comparison_page
from mcdist.report.page.davis import davis_page
from mcdist.report.page.html import write_report
from mcdist.report.pictures.failures import save_failures
from mcdist.report.pictures.retrieved import ShownRetrieved, save_retrieved
from mcdist.run_dir import RunDir
from mcdist.workflows.comparing import compare_runs
from tests.makers.chromium import started_chromium
from tests.report.fake_run import CLASSES, make_panel
from tests.report.page.test_davis_page import rows as davis_rows
from tests.workflows.test_comparing import make_run as make_compared_run

pytestmark = pytest.mark.slow  # a browser takes seconds to start


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_chromium() as started:
        yield started


@pytest.fixture
def pages(fake_run: RunDir, tmp_path: Path) -> list[Path]:
    """A report with all of its parts, a comparison, and the page of videos."""
    save_failures([make_panel(key="a" * 90)], fake_run.failures, scores=[3.0], classes=CLASSES)
    points = tuple((place / 10, place % 3 / 2) for place in range(10))
    found = ObjectMap("predicted", CLASSES, True, tuple(place % len(CLASSES) for place in range(10)), (Projection("trained", 50.0, points),) * 2)
    fake_run.object_map.write_text(found.to_json())
    runs = [make_compared_run(tmp_path / f"{name}_0", trained=50, settings=settings) for name, settings in (("short", ()), ("long" * 20, ("optim.lr=0.5",)))]
    photo = numpy.full((60, 80, 3), 120, dtype=numpy.uint8), (0.1, 0.1, 0.9, 0.9)
    save_retrieved([ShownRetrieved(photo, "w" * 90, [(photo, "w" * 90)] * 5)], fake_run.retrieved)
    videos = tmp_path / "davis.html"
    Image.new("RGB", (600, 360)).save(tmp_path / "a.webp")
    videos.write_text(davis_page(davis_rows(), title="w" * 90, lead="w " * 90, animated=[("video_0", tmp_path / "a.webp")], unscored={"w" * 60: "w " * 60}))
    comparison = tmp_path / "comparison.html"
    comparison.write_text(comparison_page(compare_runs(runs)))
    return [write_report(fake_run), comparison, videos]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_pages_are_quiet_and_fit_the_window(browser: Any, pages: list[Path], width: int, scheme: str) -> None:
    for path in pages:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.on("requestfailed", lambda request, said=said: said.append(request.url[:80]))
        page.goto(path.as_uri())
        assert said == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(17, 21, 27)")
        page.close()


def test_pages_print_on_white(browser: Any, pages: list[Path]) -> None:
    for path in pages:
        page = browser.new_page(viewport={"width": 800, "height": 900})
        page.goto(path.as_uri())
        page.emulate_media(media="print", color_scheme="light")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.pdf(format="A4").startswith(b"%PDF")
        page.close()
