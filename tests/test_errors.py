"""Errors: one family, an exit code each, and the built-in kin callers expect."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mcdist import errors
from mcdist.errors import ConfigError, DataError, MachineError, McdistError, MissingExtraError, ShardError, in_plain_words, reason

FAMILY = [member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, McdistError)]


def test_every_exit_code_says_failure_and_no_two_families_share_one():
    own = {member: member.exit_code for member in FAMILY if "exit_code" in vars(member)}
    assert 0 not in own.values()
    assert len(set(own.values())) == len(own)


def test_every_error_of_the_module_belongs_to_the_family_and_is_described():
    raised = [member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, BaseException)]
    assert raised == FAMILY
    assert all(member.__doc__ for member in FAMILY)


@pytest.mark.parametrize(("ours", "theirs"), [(ConfigError, ValueError), (MissingExtraError, ImportError), (MachineError, OSError), (ShardError, DataError)])
def test_an_error_can_be_caught_as_its_built_in_kin(ours, theirs):
    with pytest.raises(theirs, match="what to do"):
        raise ours("what to do")


@pytest.mark.parametrize("member", FAMILY)
def test_the_message_is_kept_as_it_was_written(member):
    assert str(member("wanted a, got b in c; do d")) == "wanted a, got b in c; do d"


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("a; do b"), 2), (ShardError("a; do b"), 3), (MissingExtraError("a; do b"), 6), (MachineError("a; do b"), 7)]
)
def test_a_program_ends_on_an_error_with_one_sentence_and_its_exit_code(error: McdistError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, in_plain_words():
        raise error
    assert left.value.code == code
    assert capsys.readouterr() == ("", "mcdist: a; do b\n")


def test_ctrl_c_ends_a_program_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, in_plain_words():
        raise KeyboardInterrupt
    assert left.value.code == 130
    assert capsys.readouterr().err == "mcdist: interrupted; everything that was saved before is intact\n"


def test_an_error_of_ours_stays_a_stack_trace() -> None:
    with pytest.raises(ZeroDivisionError), in_plain_words():
        _ = 1 / 0


def test_a_lost_rank_ends_the_process_at_once_though_a_thread_still_waits() -> None:
    program = "import threading\nfrom mcdist.errors import RankLostError, in_plain_words\nthreading.Thread(target=threading.Event().wait).start()\n"
    program += "with in_plain_words():\n    print('before')\n    raise RankLostError('rank 1 was lost; start again')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (7, "before\n", "mcdist: rank 1 was lost; start again\n")


def test_there_is_one_place_that_turns_an_error_into_a_sentence() -> None:
    root = Path(errors.__file__).parent.parent
    sources = [path for room in ("mcdist", "shards", "launch", "benchmarks") for path in (root / room).rglob("*.py")]
    ending = [path for path in sources if re.search(r"xit\(error\.exit_code", path.read_text())]
    assert [path.relative_to(root).as_posix() for path in ending] == ["mcdist/errors.py"]


def test_settings_that_differ_are_named_with_both_values() -> None:
    there, wanted = {"method": "spectral", "size_px": 320}, {"method": "spectral", "size_px": 480, "refine": True}
    assert errors.differing(there, wanted, names=wanted) == "size_px is 320 there, 480 was asked for; refine is None there, True was asked for"
    assert errors.differing(there, wanted, names=wanted, most=1) == "size_px is 320 there, 480 was asked for"
    assert errors.differing(there, wanted, names=["method"]) == ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("columns"), "it has no 'columns'"),
        (KeyError(), "something is missing in it"),
        (PermissionError(13, "Permission denied", "plan.json"), "Permission denied"),
        (ValueError("it holds null"), "it holds null"),
        (TypeError(), "it has another form than expected"),
    ],
)
def test_a_lower_error_is_said_in_words(error: Exception, words: str) -> None:
    assert reason(error) == words
