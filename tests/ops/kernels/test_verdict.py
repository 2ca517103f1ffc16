"""`auto` trusts a CUDA device only after its trial; the verdict is kept by everything that it depends on, and no trial can take the run down."""

import json
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from mcdist.ops import dispatch, native, verdict
from mcdist.ops.dispatch import choose_implementation
from mcdist.ops.trial import Comparison, Trial
from mcdist.ops.verdict import Verdict, try_device, verdict_on
from tests.ops.kernels.planted import planted

FACTS = {"device": "Some GPU", "capability": "9.0", "driver": "550.54", "cuda": "12.8", "torch": "2.9", "triton": "3.5", "mcdist": "0.1.0", "kernels": "a1"}
GPU = torch.device("cuda", 0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A machine with a CUDA device and an empty cache: its facts, the trial that it makes, and how many were made."""
    state: dict[str, Any] = {"facts": dict(FACTS), "trial": planted(""), "num_trials": 0, "cache": tmp_path / "cache"}

    def try_device(index: int) -> list[Comparison]:
        state["num_trials"] += 1
        return state["trial"].run(torch.device("cpu"))

    assert native.reason_missing() == ""  # the CPU's library, which the trials run on, is not built into this cache
    monkeypatch.setenv("MCDIST_CACHE_DIR", str(state["cache"]))
    monkeypatch.setattr(verdict, "device_facts", lambda index: dict(state["facts"]))
    monkeypatch.setattr(verdict, "try_device", try_device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(dispatch, "find_spec", lambda name: name)
    verdict_on.cache_clear()
    yield state
    verdict_on.cache_clear()


def choose_again() -> str:
    """As a new process on the same machine."""
    verdict_on.cache_clear()
    return choose_implementation(GPU, implementation="auto")


def test_a_device_whose_kernels_are_right_is_trusted(machine: dict[str, Any]) -> None:
    assert choose_implementation(GPU, implementation="auto") == "fused"
    assert choose_implementation(torch.device("cuda"), implementation="auto") == "fused"
    assert machine["num_trials"] == 1
    assert str(verdict_on(0)) == "Some GPU: the fused operators agree with the compact ones in 27 comparisons"


@pytest.mark.parametrize("fault", ["the loss is off by 1 %", "the gradient is off by 1 %", "it raises", "the loss is NaN", "a row is off"])
def test_a_wrong_kernel_makes_auto_compact_with_one_warning(machine: dict[str, Any], fault: str) -> None:
    machine["trial"] = planted(fault)
    with pytest.warns(RuntimeWarning, match="cuda:0, Some GPU: the fused operators are not used, compact ones are: mask_") as caught:
        chosen = [choose_implementation(GPU, implementation="auto") for _ in range(3)]
    assert chosen == ["compact"] * 3
    assert len(caught) == 1
    assert len(str(caught[0].message).splitlines()) == 1


def test_the_warning_has_the_numbers_and_says_how_to_try_again(machine: dict[str, Any]) -> None:
    machine["trial"] = planted("the loss is off by 1 %")
    with pytest.warns(RuntimeWarning, match=r"mask_contrast in float32: loss differs by 12\.\d, allowed is 0\.0245 \(9 more comparisons fail\)") as caught:
        choose_implementation(GPU, implementation="auto")
    (kept,) = machine["cache"].iterdir()
    assert str(caught[0].message).endswith(f"; to try again, delete {kept}")


def test_who_asks_for_fused_gets_it_without_a_trial(machine: dict[str, Any]) -> None:
    assert choose_implementation(GPU, implementation="fused") == "fused"
    assert machine["num_trials"] == 0


@pytest.mark.parametrize("fault", ["", "the loss is off by 1 %", "the loss is NaN"])
def test_the_verdict_is_kept_and_read_again(machine: dict[str, Any], fault: str) -> None:
    machine["trial"] = planted(fault)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, again = choose_again(), choose_again()
    assert first == again == ("compact" if fault else "fused")
    assert machine["num_trials"] == 1
    assert [path.name.partition("-")[0] for path in machine["cache"].iterdir()] == ["verdict"]


@pytest.mark.parametrize("changed", FACTS)
def test_where_a_fact_changes_the_device_is_tried_again(machine: dict[str, Any], changed: str) -> None:
    machine["trial"] = planted("the loss is off by 1 %")
    with pytest.warns(RuntimeWarning, match="not used"):
        assert choose_again() == "compact"
    machine["facts"][changed] += "1"
    machine["trial"] = planted("")
    assert choose_again() == "fused"
    assert machine["num_trials"] == 2


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "half a file": lambda content: json.dumps(content)[:100],
    "no object": lambda content: [],
    "no comparisons": lambda content: content | {"comparisons": []},
    "other facts": lambda content: content | {"facts": content["facts"] | {"driver": "1"}},
    "a comparison without its tolerance": lambda content: content | {"comparisons": [{"operator": "mask_pool"}]},
    "a comparison of other types": lambda content: content | {"comparisons": [row | {"tolerance": "inf"} for row in content["comparisons"]]},
    "nested without end": lambda content: "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_made_anew(machine: dict[str, Any], damage: Callable[[dict[str, Any]], object]) -> None:
    choose_again()
    (path,) = machine["cache"].iterdir()
    sound = path.read_text()
    damaged = damage(json.loads(sound))
    path.write_text(damaged if isinstance(damaged, str) else json.dumps(damaged))
    assert choose_again() == "fused"
    assert (machine["num_trials"], path.read_text()) == (2, sound)


def test_without_a_cache_folder_every_process_tries(machine: dict[str, Any]) -> None:
    machine["cache"].mkdir(mode=0o777)
    machine["cache"].chmod(0o777)
    assert [choose_again(), choose_again()] == ["fused", "fused"]
    assert machine["num_trials"] == 2
    assert not list(machine["cache"].iterdir())


def test_a_device_without_memory_for_the_trial_is_tried_again_the_next_time(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    full = Comparison("mask_pool", "float32", "", 0.0, 0.0, error="OutOfMemoryError: CUDA out of memory")
    monkeypatch.setattr(verdict, "try_device", lambda index: [full])
    with pytest.warns(RuntimeWarning, match="OutOfMemoryError: CUDA out of memory$"):
        assert choose_again() == "compact"
    assert not list(machine["cache"].iterdir())


def test_the_records_hold_the_verdict_and_its_numbers() -> None:
    wrong, right = Comparison("mask_pool", "float32", "gradient", 0.5, 0.1), Comparison("mask_pool", "float32", "gradient", 0.0, 0.1)
    found = Verdict("Some GPU", (right, wrong)).records(step=7)
    assert [(record.step, record.name, record.value) for record in found] == [
        (7, "fused_operators/trusted", 0.0),
        (7, "fused_operators/difference", 0.5),
        (7, "fused_operators/tolerance", 0.1),
    ]
    assert [record.value for record in Verdict("Some GPU", (right,)).records(step=0)] == [1.0]
    failed = Comparison("mask_pool", "float32", "", float("nan"), float("nan"), error="it hangs")
    assert [record.value for record in Verdict("Some GPU", (failed,)).records(step=0)] == [0.0]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Make this shell script the interpreter that runs the trial."""

    def become(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return become


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("kill -9 $$", f"the trial ended with signal {signal.SIGKILL.value}: no output"),
        ("echo 'ImportError: no libcuda' >&2; exit 1", "the trial ended with exit code 1: ImportError: no libcuda"),
        ("echo nonsense", "the trial ended with exit code 0: no output"),
        ("echo '[]'", "the trial ended with exit code 0: no output"),
    ],
)
def test_a_trial_that_dies_is_a_verdict(program: Callable[[str], None], script: str, error: str) -> None:
    program(script)
    (comparison,) = try_device(0)
    assert comparison.error == error
    assert not Verdict("Some GPU", (comparison,)).trusted


def test_a_trial_that_hangs_is_cut_off(program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    program("exec sleep 60")
    monkeypatch.setattr(verdict, "TRIAL_TIMEOUT_S", 0.3)
    assert [comparison.error for comparison in try_device(0)] == ["no result within 0.3 s"]


def test_a_trial_that_does_not_start_is_a_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert try_device(0)[0].error == "the trial did not start: No such file or directory"


def test_what_the_trial_prints_is_read(program: Callable[[str], None]) -> None:
    rows = [Comparison("mask_pool", "float32", "gradient", float("nan"), 0.1), Comparison("mask_pool", "float32", "pooled rows", 0.0, 0.1)]
    program(f"echo 'a line of a library'; echo '{json.dumps([asdict(row) for row in rows])}'")
    assert [str(comparison) for comparison in try_device(0)] == [str(row) for row in rows]


def test_a_device_for_one_process_only_is_tried_in_this_one(program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    program("exit 3")
    devices: list[torch.device] = []

    def run(self: Trial, device: torch.device) -> list[Comparison]:
        devices.append(device)
        return []

    monkeypatch.setattr(Trial, "run", run)
    assert try_device(1) == []
    assert devices == [torch.device("cuda", 1)]


def test_the_facts_are_those_of_the_device_its_driver_and_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(verdict, "DRIVER_FILE", tmp_path / "version")
    (tmp_path / "version").write_text("NVRM version: 550.54\nGCC version: 12\n")
    facts = verdict.device_facts(1)
    assert set(facts) == set(FACTS)
    assert (facts["device"], facts["capability"], facts["driver"], facts["torch"]) == ("GPU 1", "9.0", "NVRM version: 550.54", torch.__version__)
    monkeypatch.setattr(verdict, "SOURCES", verdict.SOURCES[1:])
    assert verdict.device_facts(1)["kernels"] != facts["kernels"]
    monkeypatch.setattr(verdict, "DRIVER_FILE", tmp_path / "nothing")
    monkeypatch.setenv("PATH", "")
    assert verdict.device_facts(1)["driver"] == "unknown"
