"""mcdist shards convert: both ways, and what comes back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from mcdist.data.readers.open import open_shards
from mcdist.data.shards.sample import decode_sample
from tests.building.made_pictures import save_mask, save_photo

Run = Callable[..., Result]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def tars(run: Run, photos: Path, tmp_path: Path) -> Path:
    """Shards of plain JPEGs, a PNG, a grey, a CMYK and a turned JPEG; one photo was skipped, and with it a whole shard."""
    for name, mode in {"p6.png": "RGB", "p7.jpg": "L", "p8.jpg": "CMYK"}.items():
        save_photo(photos / name, seed=9, mode=mode)
        save_mask((tmp_path / "masks" / name).with_suffix(".png"))
    save_photo(photos / "p9.jpg", orientation=6)
    save_mask(tmp_path / "masks" / "p9.png", width=32, height=48)
    (photos / "p4.jpg").write_bytes(b"no photo")
    (photos / "p5.jpg").write_bytes(b"no photo")
    out = tmp_path / "tars"
    assert (
        run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", out, "--shard-size", 2, "--workers", 1, "--max-skipped-share", 0.5).exit_code
        == 0
    )
    assert len(list(out.glob("*.tar"))) == 4
    return out


@pytest.mark.parametrize("mode", ["jpg", "raw", "smart"])
@pytest.mark.parametrize("workers", [1, 2])
def test_there_and_back_gives_the_very_tars(run: Run, tars: Path, tmp_path: Path, mode: str, workers: int) -> None:
    there = run("convert", tars, tmp_path / "betons", "--to", "ffcv", "--ffcv-photo", mode, "--lossless", "--workers", workers)
    assert there.exit_code == 0 and "8 photos in 4 shards" in there.output
    assert run("verify", tmp_path / "betons").exit_code == 0
    back = run("convert", tmp_path / "betons", tmp_path / "back", "--to", "webdataset", "--lossless", "--workers", workers)
    assert back.exit_code == 0
    assert content_of(tmp_path / "back") == content_of(tars)


@pytest.mark.parametrize("mode", ["jpg", "raw", "smart"])
def test_every_sample_decodes_the_same_in_both_formats(run: Run, tars: Path, tmp_path: Path, mode: str) -> None:
    run("convert", tars, tmp_path / "betons", "--to", "ffcv", "--ffcv-photo", mode, "--workers", 1)
    first, second = open_shards(tars), open_shards(tmp_path / "betons")
    assert len(first) == len(second) == 8
    for index in range(8):
        one, other = decode_sample(first.read(index)), decode_sample(second.read(index))
        assert one.key == other.key
        assert torch.equal(one.photo, other.photo) and torch.equal(one.instances, other.instances)


def test_converting_is_building(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--shard-size", 4, "--workers", 1)
    assert run(*arguments, "--out", tmp_path / "tars").exit_code == 0
    assert run(*arguments, "--out", tmp_path / "built", "--format", "ffcv").exit_code == 0
    assert run("convert", tmp_path / "tars", tmp_path / "converted", "--to", "ffcv", "--workers", 1).exit_code == 0
    assert content_of(tmp_path / "converted") == content_of(tmp_path / "built")


def test_pixels_come_back_as_png_and_it_is_said(run: Run, tars: Path, tmp_path: Path) -> None:
    there = run("convert", tars, tmp_path / "betons", "--to", "ffcv", "--ffcv-photo", "raw", "--workers", 1)
    assert "kept as pixels alone, its own file's bytes do not come back: 8 photos" in there.output
    refused = run("convert", tmp_path / "betons", tmp_path / "back", "--to", "webdataset", "--lossless", "--workers", 1)
    assert refused.exit_code == 3 and "its photo was kept as pixels alone" in refused.output
    back = run("convert", tmp_path / "betons", tmp_path / "back", "--to", "webdataset", "--workers", 1)
    assert back.exit_code == 0 and "written as PNG: only its pixels were kept: 8 photos" in back.output
    first, second = open_shards(tars), open_shards(tmp_path / "back")
    for index in range(8):
        assert torch.equal(decode_sample(first.read(index)).photo, decode_sample(second.read(index)).photo)


def test_a_conversion_goes_on_where_it_was_stopped(run: Run, tars: Path, tmp_path: Path) -> None:
    arguments = ("convert", tars, tmp_path / "out", "--to", "ffcv", "--workers", 1)
    last = max(tars.glob("*.tar"))
    sound = last.read_bytes()
    last.write_bytes(sound[:1000])
    stopped = run(*arguments)
    assert stopped.exit_code == 3 and last.name in stopped.output
    last.write_bytes(sound)
    done = run(*arguments)
    assert done.exit_code == 0 and "3 shards kept from an earlier run" in done.output
    run("convert", tars, tmp_path / "at_once", "--to", "ffcv", "--workers", 1)
    assert content_of(tmp_path / "out") == content_of(tmp_path / "at_once")


def test_nothing_to_convert_is_said(run: Run, tars: Path, tmp_path: Path) -> None:
    refused = run("convert", tars, tmp_path / "out", "--to", "webdataset")
    assert refused.exit_code == 2 and "holds WebDataset tars already" in refused.output
    refused = run("convert", tars, tars, "--to", "ffcv")
    assert refused.exit_code == 2 and "expected another folder to write to" in refused.output


def test_inspect_shows_an_ffcv_folder(run: Run, tars: Path, tmp_path: Path) -> None:
    run("convert", tars, tmp_path / "betons", "--to", "ffcv", "--workers", 1)
    shown = run("inspect", tmp_path / "betons", "--sheet", tmp_path / "sheet.png")
    assert shown.exit_code == 0 and "ffcv, schema version" in shown.output and (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize("damage", ["cut", "header", "data", "gone", "swapped"])
def test_verify_finds_damage_in_an_ffcv_folder(run: Run, tars: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "betons"
    run("convert", tars, folder, "--to", "ffcv", "--workers", 1)
    path = folder / "shard-000001.beton"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "swapped":
        shutil.copy(folder / "shard-000000.beton", path)
    else:
        content[{"cut": 0, "header": 8, "data": len(content) // 2}[damage]] ^= 1
        path.write_bytes(content[:-7] if damage == "cut" else content)
    found = run("verify", folder)
    assert found.exit_code == 3 and "shard-000001.beton" in found.output
