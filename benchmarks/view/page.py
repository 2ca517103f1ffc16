"""How long until the page of `mcdist view` shows its clusters, and until it answers?

    python -m benchmarks.view.page --objects 2000 --objects 100000 --json benchmarks/view/results/page.json

A made-up catalogue (32 numbers an object, two objects a photo) is served on loopback by a thread of this process, and a Chromium without a window opens the
page, each time with an empty cache. "open" is the time from going to the address until every thumbnail on the screen has been drawn: with the thumbnails
still to be made ("first"), or made before ("again"). "search" is a click on a dropped photo until its nearest objects are listed, "cluster" and "object"
opening one, "name" saving a name; "start" is what the server does between reading the catalogue and its first answer. A search that does not find the clicked
object itself first is refused.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from benchmarks.view.made_up import MadeUp, made_up
from benchmarks.view.made_up_page import make_page
from mcdist.errors import MissingExtraError
from mcdist.gallery.serve import served

SERVER = "processor time of this process"
"""What modes of that end in: of the server and the browser's driver, without the browser. It hardly depends on what else the machine does."""

SEEN = """() => [...document.images].filter((image) => { const box = image.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight && box.width; }).every((image) => image.complete && image.naturalWidth)"""
"""Whether every picture on the screen has come."""


def main(
    objects: Annotated[list[int], typer.Option(help="Objects of the catalogue.")] = [2_000, 100_000],  # noqa: B006  # typer reads the default
    clusters: Annotated[int, typer.Option(help="Clusters of the catalogue.")] = 60,
    runs: Annotated[int, typer.Option(help="Measurements of each kind.")] = 5,
    json_path: Annotated[Path | None, typer.Option("--json", help="File for the rows.")] = None,
) -> None:
    """Measure the page at each size."""
    rows: list[Measurement] = []
    with chromium() as browser:
        for num_objects in objects:
            made = made_up(num_objects, num_clusters=clusters, num_kinds=40)
            for (mode, unit), values in measured(made, browser=browser, num_runs=runs).items():
                rows.append(
                    measurement(
                        values,
                        benchmark="view",
                        provider="mcdist view",
                        mode=mode,
                        shape=f"{num_objects:,} objects, {clusters} clusters",
                        metric="time",
                        unit=unit,
                        device=torch.device("cpu"),
                    )
                )
    publish(rows, json_path=json_path)


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingExtraError("this benchmark needs playwright, which is not installed; install it with: pip install playwright") from error
    program = shutil.which("chromium")
    if program is None:
        raise MissingExtraError("this benchmark needs Chromium, which is not on this machine's path; install it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def measured(made: MadeUp, *, browser: Any, num_runs: int) -> dict[tuple[str, str], list[float]]:
    """(what was measured, unit) -> values."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(num_runs):
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.perf_counter()
            with served(make_page(made, folder=Path(folder)).app) as address:
                _add(found, "start", "s", time.perf_counter() - began_s)
                for mode in ("open, first", "open, again"):
                    context = browser.new_context(viewport={"width": 1280, "height": 900})
                    tab = context.new_page()
                    began_cpu_s = time.process_time()
                    _add(found, mode, "s", seconds(lambda tab=tab: opened(tab, address)))  # type: ignore[misc]
                    _add(found, f"{mode}, {SERVER}", "s", time.process_time() - began_cpu_s)
                    if mode == "open, again":
                        use(tab, found=found)
                    context.close()
    return found


def opened(tab: Any, address: str) -> None:
    """Go there, and wait for every picture on the screen."""
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]")
    tab.wait_for_function(SEEN)


def use(tab: Any, *, found: dict[tuple[str, str], list[float]]) -> None:
    """Do what a person does, once."""
    name = "document.body.dataset.revision"
    before = tab.evaluate(name)
    tab.keyboard.press("n")
    tab.keyboard.type("cat")
    _add(found, "name", "ms", 1e3 * seconds(lambda: (tab.keyboard.press("Enter"), tab.wait_for_function(f"(before) => {name} !== before", arg=before))))
    tab.keyboard.press("u")
    _add(found, "cluster", "ms", 1e3 * seconds(lambda: (tab.keyboard.press("Enter"), tab.wait_for_selector("#objects .cell"))))
    _add(found, "object", "ms", 1e3 * seconds(lambda: (tab.keyboard.press("Enter"), tab.wait_for_selector("#object[open] #near .cell"))))
    tab.keyboard.press("Escape")
    tab.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": _PHOTO})
    tab.wait_for_selector("#canvas[data-painted]")
    for _ in range(4):
        tab.evaluate("document.querySelector('#photo-grid')?.remove()")
        took = seconds(lambda: (tab.locator("#canvas").click(position={"x": 20, "y": 20}), tab.wait_for_selector("#photo-grid .cell")))
        assert tab.locator("#photo-grid .cell").first.get_attribute("data-object") == "0", "the nearest object of a vector is the object that has it"
        _add(found, "search", "ms", 1e3 * took)
        _add(found, "search, without the browser's own work", "ms", float(tab.locator("#photo-near").get_attribute("data-took")))


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    began_s = time.perf_counter()
    action()
    return time.perf_counter() - began_s


def _add(found: dict[tuple[str, str], list[float]], mode: str, unit: str, value: float) -> None:
    found.setdefault((mode, unit), []).append(value)


def _png() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (320, 240), "teal").save(file, format="PNG")
    return file.getvalue()


_PHOTO = _png()

QUICK = ("--objects", "400", "--clusters", "8", "--runs", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
