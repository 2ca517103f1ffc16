"""Requests: what is allowed, presets, SLURM's times."""

from typing import Any

import pytest

from mcdist.errors import ConfigError
from mcdist.launch.cluster import PRESETS, Cluster, load_preset, minutes_of

HOSTILE = ["$(touch x)", "a$HOME; touch x", "a\ntouch x", "`touch x`", "a' --wrap='touch x", 'a" b', "-p other", "a\\b", "a\0b", "é"]


@pytest.mark.parametrize(("text", "minutes"), [("60", 60), ("1:30", 2), ("01:00:00", 60), ("1-00", 1440), ("1-02:03", 1563), ("2-00:00:30", 2881)])
def test_times_are_slurms(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


def test_ranks_follow_from_tasks_then_gpus_then_one_a_node() -> None:
    assert Cluster(nodes=4).num_ranks == 4
    assert Cluster(nodes=2, gpus_per_node=8).num_ranks == 16
    assert Cluster(nodes=2, gpus_per_node=8, tasks_per_node=4).num_ranks == 8


@pytest.mark.parametrize("name", ["partition", "account", "qos", "constraint", "exclude", "container", "mem", "time", "comment"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_that_could_mean_something_to_a_shell_is_refused(name: str, text: str) -> None:
    given: dict[str, Any] = {name: text}
    with pytest.raises(ConfigError, match=f"--{name} must be"):
        Cluster(**given)


@pytest.mark.parametrize(("name", "value"), [("nodes", 0), ("gpus_per_node", -1), ("cpus_per_task", -3), ("nodes", True), ("signal_delay_s", 0)])
def test_counts_have_a_least_value(name: str, value: int) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} must be a whole number of at least"):
        Cluster(**given)


def test_what_slurm_itself_writes_is_allowed() -> None:
    Cluster(partition="gpu,gpu-long", exclude="node[3,7-9]", constraint="(a100|h100)&ib", comment="paper run 3, second try; see #12", mem="64G", account="a_b")
    assert Cluster(container="nvcr.io#nvidia/pytorch:24.10-py3").container_kind == "pyxis"
    assert Cluster(container="/images/torch.sif").container_kind == "apptainer"


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_can_be_asked_for(name: str) -> None:
    assert load_preset(name, changes={"nodes": 3}).nodes == 3


def test_options_beat_a_preset() -> None:
    assert load_preset("gpu8", changes={"gpus_per_node": 2}).num_ranks == 2


def test_an_unknown_preset_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="auto, local or one of cpu, gpu4, gpu8"):
        load_preset("../../etc/passwd", changes={})
