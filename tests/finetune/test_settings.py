"""Every departure from the published settings is said."""

import pytest

from mcdist.errors import ConfigError
from mcdist.finetune.protocols import PROTOCOLS
from mcdist.finetune.settings import TuneSettings, check_fractions
from mcdist.records.names import LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED


def test_departures_name_the_published_value():
    assert TuneSettings().departures == "none"
    assert TuneSettings(size_px=128, num_steps=40).departures == "size_px 128 (512), num_steps 40 (as many as the epochs have)"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_says_its_ten_switches_and_what_departs(name):
    switches = PROTOCOLS[name].switches(TuneSettings(size_px=96, lr=0.5))
    assert "96 x 96" in switches.resize and "96 x 96" in switches.scored_at and "lr 0.5" in switches.optimizer
    assert switches.departs_from_published == "size_px 96 (512), lr 0.5 (0.1)"


def test_the_slip_is_the_only_difference_between_published_and_clean():
    published, clean = (PROTOCOLS[name].switches(TuneSettings()) for name in (LINEAR_EXACT_PUBLISHED, LINEAR_EXACT_CLEAN))
    differing = {name for name in published.__dataclass_fields__ if getattr(published, name) != getattr(clean, name)}
    assert differing == {"label_choice"} and "slip" in published.label_choice


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_px": 0}, "--size must be at least 1, got 0"),
        ({"num_epochs": 10}, "--drop-after must be between 0 and the 10 of --epochs, got 25"),
        ({"lr": float("nan")}, "--lr must be a number above 0"),
        ({"num_steps": -1}, "--steps must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        TuneSettings(**change)


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (5.0, 1.0), (1.0, 1.0), (101.0,), (float("nan"),)])
def test_fractions_are_different_shares_from_the_smallest(fractions):
    with pytest.raises(ConfigError, match="--fractions must be different shares"):
        check_fractions(fractions)
