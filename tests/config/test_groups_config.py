"""Section `groups` and the weights of its terms: the graph's own names and defaults, and what cannot go together."""

import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from mcdist import build
from mcdist.config import Config, GroupsConfig
from mcdist.config.file import load_config
from mcdist.config.science import science_differences, science_keys
from mcdist.errors import ConfigError
from mcdist.groups.settings import GroupSettings

ON = ["groups.num_groups=[25]", "loss.group_weight=1"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text("")
    return path


def test_the_graphs_settings_have_its_names_and_its_defaults() -> None:
    for field in fields(GroupSettings):
        if field.name == "seed":
            continue  # the run's own
        assert field.name in inspect.signature(GroupsConfig).parameters
        value = getattr(GroupsConfig(), field.name)
        if field.name not in ("num_groups", "neighbours", "consensus"):  # training cuts the consensus of many graphs, mcdist group one graph
            assert field.default is not MISSING
            assert (tuple(value) if isinstance(value, list) else value) == field.default


def test_the_graph_gets_what_the_section_says(file: Path) -> None:
    config = load_config(
        file, overrides=[*ON, "groups.neighbours=[5,10]", "groups.symmetry=mutual", "groups.num_groups=[25,6]", "groups.tau=0.1", "run.seed=3"]
    )
    settings = build.group_settings(config)
    assert (settings.neighbours, settings.symmetry, settings.num_groups, settings.tau, settings.seed) == ((5, 10), "mutual", (25, 6), 0.1, 3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["groups.num_groups=[25]"], "groups.num_groups=[25] needs loss.group_weight or loss.group_contrast_weight > 0, got 0 for both"),
        (["loss.group_weight=1"], "loss.group_weight=1 needs groups.num_groups, such as [25], got none"),
        (["loss.group_contrast_weight=0.5"], "loss.group_contrast_weight=0.5 needs groups.num_groups"),
        (["groups.given=here"], "groups.given=here needs groups.num_groups"),
        ([*ON, "groups.choose=true"], "groups.choose chooses among several groups.num_groups, of groups that this run makes; got num_groups=[25], given=''"),
        ([*ON, "groups.num_groups=[4,8]", "groups.choose=true", "groups.given=here"], "got num_groups=[4, 8], given='here'"),
        ([*ON, "groups.consensus=[1,4]"], "groups.consensus must be different whole numbers >= 2, got [1, 4]"),
        ([*ON, "groups.consensus_min=1.5"], "groups.consensus_min must be"),
        ([*ON, "groups.num_groups=[6,6]"], "groups.num_groups must be different whole numbers >= 1, got [6, 6]"),
        ([*ON, "groups.num_groups=[0]"], "groups.num_groups must be different whole numbers >= 1, got [0]"),
        ([*ON, "groups.neighbours=[]"], "groups.neighbours must be one or more whole numbers"),
        ([*ON, "groups.tau=0"], "groups.tau must be > 0"),
        ([*ON, "groups.zoom_background=black"], "groups.zoom_background in the argument 'groups.zoom_background=black' must be one of keep, grey"),
        ([*ON, "groups.zoom_margin=0.5"], "groups.zoom_margin must be >= 1, got 0.5"),
        ([*ON, "groups.subsample_share=1"], "groups.subsample_share must be > 0 and < 1"),
        ([*ON, "groups.confidence_min=2"], "groups.confidence_min must be between 0 and 1"),
        (["loss.group_balance=half"], "loss.group_balance in the argument 'loss.group_balance=half' must be one of none, sqrt, inverse"),
        (["loss.contrast_weight=-1"], "loss.contrast_weight must be >= 0"),
        (["loss.contrast_weight=0", "loss.saliency_weight=0"], "must be > 0, got 0 for all of them"),
        (["model.levels=0"], "model.levels must be >= 1, got 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(file, overrides=overrides)


def test_only_terms_with_a_weight_are_computed(file: Path) -> None:
    assert [term.name for term in build.loss_terms(Config())] == ["contrast", "saliency"]
    config = load_config(file, overrides=[*ON, "loss.contrast_weight=0", "loss.group_weight=0.5"])
    terms = build.loss_terms(config)
    assert [(term.name, term.weight, term.needs_keys) for term in terms] == [("saliency", 1.0, False), ("group", 0.5, False)]
    config = load_config(file, overrides=[*ON, "loss.group_contrast_weight=2"])
    assert [term.name for term in build.loss_terms(config)] == ["contrast", "saliency", "group", "group_contrast"]


def test_groups_are_science_and_where_they_are_is_not(file: Path) -> None:
    before = load_config(file, overrides=ON)
    assert not science_differences(before, load_config(file, overrides=[*ON, "groups.given=elsewhere"]))
    assert list(science_differences(before, load_config(file, overrides=[*ON, "groups.tau=0.2"]))) == ["groups.tau"]
    assert {"groups.num_groups", "loss.group_balance", "model.levels"} < set(science_keys())
