"""Makes the pictures of README and documentation from a run of the demo: python docs/pictures/make_pictures.py runs/demo

Needs Chromium for the screenshots, and playwright for those of `mcdist view` and of the report's parts. The run must have a catalogue (mcdist cluster),
and is shown with the names that it has.
All data in the pictures is generated; each file stays below 200 kB.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy
import typer
from method_picture import method_svg
from PIL import Image

from mcdist.config.file import load_config
from mcdist.data.readers.open import open_shards
from mcdist.data.shards.sample import decode_sample
from mcdist.run_dir import RunDir
from mcdist.trained import load_encoder

HERE = Path(__file__).parent
MAX_BYTES = 200_000
PARTS = {"rows": ("Every row", 620), "neighbours": ("What training changed", 640)}
"""Of the report, by the name of the picture: the heading that a part begins with, and how much of it is shown, in px."""
BADGES = {
    "tests": ("tests", "make test", "#17805f"),
    "python": ("python", "3.11 | 3.12", "#2f7fd1"),
    "licence": ("licence", "Apache 2.0", "#5d6877"),
}


def main(
    run: Annotated[Path, typer.Argument(help="A trained and evaluated run of the demo.")] = Path("runs/demo"),
    photo: Annotated[int, typer.Option(help="Which training photo the picture of the method shows.")] = 27,
    panels: Annotated[str, typer.Option(help="Which panels are shown, by place.")] = "0,1",
    chromium: Annotated[str, typer.Option(help="The browser that takes the screenshot.")] = "chromium",
) -> None:
    """Write every picture next to this file."""
    for name, (label, value, colour) in BADGES.items():
        (HERE / f"badge_{name}.svg").write_text(badge_svg(label, value=value, colour=colour))
    sample = _training_sample(run, index=photo)
    (HERE / "method.svg").write_text(method_svg(sample[0], sample[1], encoder=load_encoder(run)))
    _write_panels(run, places=[int(place) for place in panels.split(",")])
    _write_screenshot(RunDir(run).report, chromium=chromium)
    write_parts(RunDir(run).report, chromium=chromium)
    write_view(RunDir(run), chromium=chromium)
    too_large = [path.name for path in HERE.iterdir() if path.stat().st_size > MAX_BYTES]
    if too_large:
        sys.exit(f"above {MAX_BYTES:,} bytes: {', '.join(too_large)}")


def badge_svg(label: str, *, value: str, colour: str) -> str:
    """A label and a value side by side, in the shape that readers of READMEs know."""
    left, right = 12 + 6.6 * len(label), 12 + 6.6 * len(value)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:.0f}" height="20" role="img" aria-label="{label}: {value}">'
        f'<clipPath id="r"><rect width="{left + right:.0f}" height="20" rx="3"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{left:.1f}" height="20" fill="#3b4452"/><rect x="{left:.1f}" width="{right:.1f}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:.1f}" y="14">{label}</text><text x="{left + right / 2:.1f}" y="14">{value}</text></g></svg>\n'
    )


def _training_sample(run: Path, *, index: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Photo and instance map of a sample of the run's training shards."""
    sample = decode_sample(open_shards(Path(load_config(RunDir(run).config).data.train)).read(index))
    return sample.photo.permute(1, 2, 0).numpy(), sample.instances.numpy().clip(min=0)


def _write_panels(run: Path, *, places: list[int]) -> None:
    """The chosen panels one below the other; they have equal widths."""
    rows = [Image.open(path).convert("RGBA") for path in sorted(RunDir(run).panels.glob("*.png"))]
    chosen = [rows[place] for place in places]
    width = max(row.width for row in chosen)
    page = Image.new("RGBA", (width, sum(row.height for row in chosen)))
    top = 0
    for row in chosen:
        page.paste(row, (0, top))
        top += row.height
    page.save(HERE / "panels.webp", quality=88, method=6)


def _write_screenshot(report: Path, *, chromium: str) -> None:
    """The first screen of the report, a little finer than an ordinary display shows it."""
    if not shutil.which(chromium):
        sys.exit(f"no browser {chromium!r} for the screenshot of the report; name one with --chromium")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.png"
        options = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
        )
        command = [
            chromium,
            *options.split(),
            f"--user-data-dir={folder}/profile",
            "--hide-scrollbars",
            "--window-size=1280,1180",
            "--force-device-scale-factor=1.25",
        ]
        subprocess.run([*command, f"--screenshot={target}", report.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        Image.open(target).convert("RGB").save(HERE / "report.webp", quality=82, method=6)


def write_parts(report: Path, *, chromium: str) -> None:
    """Parts of the report for the tutorial that reads one: each from its heading on, as wide as the page, at most so many px high."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=shutil.which(chromium), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1120, "height": 900}, device_scale_factor=1.25)
        tab.goto(report.resolve().as_uri())
        for name, (heading, height_px) in PARTS.items():
            top_px = tab.locator("h2", has_text=heading).first.evaluate("heading => heading.getBoundingClientRect().top + scrollY")
            target = Path(folder) / f"{name}.png"
            tab.screenshot(path=target, full_page=True, clip={"x": 0, "y": top_px - 12, "width": 1120, "height": height_px})
            Image.open(target).convert("RGB").save(HERE / f"report_{name}.webp", quality=80, method=6)
        browser.close()


def write_view(run: RunDir, *, chromium: str) -> None:
    """The first screen of `mcdist view`, once all of its pictures have come."""
    from playwright.sync_api import sync_playwright

    from mcdist.gallery.serve import served
    from mcdist.workflows.viewing import make_view

    with served(make_view(run, overrides=[], say=print)) as address, sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=shutil.which(chromium), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 840}, device_scale_factor=1.25)
        tab.goto(address)
        tab.wait_for_selector("body[data-ready]")
        tab.wait_for_function("[...document.images].filter((image) => image.getBoundingClientRect().top < innerHeight).every((image) => image.complete)")
        target = Path(folder) / "view.png"
        tab.screenshot(path=target)
        browser.close()
        Image.open(target).convert("RGB").save(HERE / "naming.webp", quality=74, method=6)


if __name__ == "__main__":
    typer.run(main)
