"""mcdist davis: from the command line to the table, resumed, and its errors."""

import json

import pytest

from mcdist.cli.main import main
from mcdist.errors import ConfigError
from mcdist.evaluate.propagation import settings
from mcdist.evaluate.propagation.settings import PropagationSettings
from mcdist.model.backbones.registry import name_and_weights
from tests.makers.tiny_davis import tiny_davis


@pytest.fixture
def small_frames(monkeypatch):
    """The protocol at a size that takes no time."""
    monkeypatch.setitem(settings.PROPAGATIONS, "davis-propagation", PropagationSettings(short_side_px=48, long_multiple_px=8, radius=3))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.mark.slow
def test_a_backbone_is_judged_and_goes_on_where_it_was(tmp_path, small_frames, capsys):
    data, out = tiny_davis(tmp_path / "data"), tmp_path / "out"
    command = ("davis", "--backbone", "resnet18:none", "--data", data, "--out", out)
    assert run(*command) == 0
    first = capsys.readouterr().out
    assert "2 videos, 10 frames" in first
    assert "first frame" in first
    found = json.loads((out / "davis.json").read_text())
    assert [row["subject"]["encoder"] for row in found["rows"]] == ["initial backbone", "first frame"]
    assert (out / "overlays" / "goose.webp").is_file()
    assert "data:image/webp;base64," in (out / "davis.html").read_text()
    masks = {path: path.stat().st_mtime_ns for path in out.glob("masks/*/*/*.png")}
    assert len(masks) == 10
    (out / "videos" / "otter.json").unlink()
    assert run(*command) == 0
    changed = {path.parent.name for path, time_ns in masks.items() if path.stat().st_mtime_ns != time_ns}
    assert changed == {"otter"}
    assert json.loads((out / "davis.json").read_text())["rows"] == found["rows"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere"), "needs a run's folder, or --backbone"),
        (("--data", "nowhere", "--backbone", "resnet18:none"), "say with --out where the masks go"),
        (("--data", "nowhere", "--backbone", "resnet18:none", "--out", "x", "--protocol", "davis"), "unknown protocol 'davis' for videos"),
        (("--data", "nowhere", "--backbone", "resnet18:none", "--out", "x"), "expected the folder of a data set in DAVIS's layout at nowhere"),
    ],
)
def test_errors_are_one_sentence(arguments, message, capsys):
    assert run("davis", *arguments) in (2, 3)
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_backbone_names_its_weights():
    assert name_and_weights("efficientnet_lite0") == ("efficientnet_lite0", "imagenet")
    assert name_and_weights("timm/vit_small_patch16_224") == ("timm/vit_small_patch16_224", "hub")
    assert name_and_weights("resnet50:/a/b.pth") == ("resnet50", "/a/b.pth")
    assert name_and_weights("resnet50") == ("resnet50", "hub")
    with pytest.raises(ConfigError, match="no weights of moco_v3_vit_small are packaged"):
        name_and_weights("moco_v3_vit_small")


@pytest.mark.parametrize(("there", "asked", "cure"), [(2016, 2017, "; for these videos: --year 2016"), (2017, 2016, "; for these videos: --year 2017")])
def test_the_year_of_the_videos_that_are_there_is_suggested(tmp_path, capsys, there, asked, cure):
    data = tiny_davis(tmp_path / "data")
    (data / "ImageSets").rename(data / "lists")
    (data / "ImageSets").mkdir()
    next((data / "lists").iterdir()).rename(data / "ImageSets" / str(there))
    assert run("davis", "--data", data, "--backbone", "resnet18:none", "--out", tmp_path / "out", "--year", asked) == 3
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"{asked}/val.txt, it cannot be read (No such file or directory); there are: ImageSets/{there}/val.txt{cure}" in said
