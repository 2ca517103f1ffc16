"""Errors: one family, an exit code each, and the built-in kin callers expect."""

import inspect

import pytest

from mcdist import errors
from mcdist.errors import ConfigError, DataError, MachineError, McdistError, MissingExtraError, ShardError

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
