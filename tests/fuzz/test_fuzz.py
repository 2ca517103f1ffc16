"""Every reader takes its sound inputs, refuses broken ones in a sentence, and no longer trips over what it once tripped over."""

from pathlib import Path

import pytest

from mcdist.errors import McdistError
from tests.fuzz.hunt import Hunt, hunt, try_one
from tests.fuzz.targets import TARGETS, Target

FINDINGS = Path(__file__).with_name("findings")
IDS = [target.name for target in TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=IDS)
def test_sound_inputs_are_read(target: Target, tmp_path: Path) -> None:
    sound, read = target.make(tmp_path)
    for content in sound:
        read(content)


@pytest.mark.parametrize("target", TARGETS, ids=IDS)
def test_broken_inputs_are_read_or_refused_in_a_sentence(target: Target, tmp_path: Path) -> None:
    found = hunt(target, folder=tmp_path, runs=60, seed=1)
    assert found.runs == 60
    assert not found.findings, "\n".join(trace for _, trace in found.findings.values())


@pytest.mark.parametrize("path", sorted(FINDINGS.rglob("*.bin")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_was_found_is_read_or_refused_in_a_sentence(path: Path, tmp_path: Path) -> None:
    (target,) = (target for target in TARGETS if target.name.replace(" ", "_").replace(",", "") == path.parent.name)
    _, read = target.make(tmp_path)
    try:
        read(path.read_bytes())
    except McdistError as error:
        assert str(error)


def test_a_reader_that_raises_something_else_is_a_finding_and_one_for_each_place() -> None:
    found = Hunt("planted")

    def read(content: bytes) -> None:
        raise IndexError(len(content))

    for content in (b"", b"ab", b"abc"):
        assert not try_one(read, content, found)
    assert (found.runs, found.refused, [content for content, _ in found.findings.values()]) == (3, 0, [b""])
