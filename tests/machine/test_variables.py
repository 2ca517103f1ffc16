import os

import pytest

from mcdist.machine.variables import variables


def test_a_variable_holds_for_the_block_and_is_then_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCDIST_WAS_SET", "before")
    monkeypatch.delenv("MCDIST_WAS_NONE", raising=False)
    with pytest.raises(KeyError), variables(MCDIST_WAS_SET="inside", MCDIST_WAS_NONE="inside"):
        assert os.environ["MCDIST_WAS_SET"] == os.environ["MCDIST_WAS_NONE"] == "inside"
        raise KeyError
    assert os.environ["MCDIST_WAS_SET"] == "before"
    assert "MCDIST_WAS_NONE" not in os.environ
