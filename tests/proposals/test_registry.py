"""Methods by name: built in or of other packages, with options read as their defaults' types."""

import re
import sys
from pathlib import Path

import pytest

from mcdist.errors import ConfigError
from mcdist.proposals.registry import BUILT_IN, make_method, names, options_of
from tests.proposals.proposal_pictures import disc, iou


def test_every_built_in_method_has_a_maker_whose_options_have_defaults():
    for name in BUILT_IN:
        assert all(default is not None for default in options_of(name).values()), name


def test_another_package_adds_a_method_by_an_entry_point(other_package):
    assert "red" in names()
    method = make_method("red", options={"wait_s": "0.5"})
    assert (method.name, method.parameters) == ("red", {"wait_s": 0.5})


def test_another_package_adds_a_method_where_importlib_metadata_finds_it(other_package):
    """The package importlib_metadata, once imported, gives entry points of a class of its own; mlflow imports it."""
    importlib_metadata = pytest.importorskip("importlib_metadata")
    before = list(sys.meta_path)
    try:
        sys.meta_path.insert(0, importlib_metadata.MetadataPathFinder())
        assert "red" in names()
    finally:
        sys.meta_path[:] = before


def test_the_method_that_the_document_shows_is_one(other_package):
    """docs/proposals.md, "A method of your own"."""
    text = (Path(__file__).parents[2] / "docs" / "proposals.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (other_package / "documented_method.py").write_text(code)
    (other_package / "other_proposals-1.0.dist-info" / "entry_points.txt").write_text("[mcdist.proposals]\nred = documented_method:make\n")
    photo, truth = disc()
    proposal = make_method("red", options={"least": "150"})([photo], names=["a.jpg"])[0]
    assert iou(proposal.instances > 0, truth) > 0.9


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("filez", {}, "no proposal method is called 'filez'; did you mean 'files'"),
        ("files", {"treshold": "1"}, "has no option 'treshold'; did you mean 'threshold'"),
        ("files", {"threshold": "much"}, "files: threshold must be a number, got 'much'"),
        ("files", {"split": "yes"}, "files: split must be true or false, got 'yes'"),
        ("files", {}, "needs the folder or JSON file of masks"),
    ],
)
def test_a_name_or_option_that_is_none_is_one_sentence(name, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_method(name, options=options)


def test_a_package_that_does_not_load_is_said(other_package):
    (other_package / "other_proposals-1.0.dist-info" / "entry_points.txt").write_text("[mcdist.proposals]\nred = nowhere_at_all:make\n")
    with pytest.raises(ConfigError, match="red .nowhere_at_all:make. does not load"):
        make_method("red")
