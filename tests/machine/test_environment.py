import sys

import pytest

from mcdist.machine.environment import describe_environment


@pytest.mark.parametrize("program", ["/somewhere/bin/mcdist", "/somewhere/mcdist/__main__.py"])
def test_the_command_is_the_one_to_type_again(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "train", "a b.yaml", "optim.lr=0.1"])
    assert describe_environment(device="cpu", num_ranks=1, precision="fp32")["command"] == "mcdist train 'a b.yaml' optim.lr=0.1"


def test_facts_that_decide_a_result_are_there() -> None:
    facts = describe_environment(device="cpu", num_ranks=2, precision="bf16")
    assert facts["num_ranks"] == 2
    assert facts["precision"] == "bf16"
    assert {"python", "torch"} <= facts["versions"].keys()
    assert facts["num_cores"] >= 1
