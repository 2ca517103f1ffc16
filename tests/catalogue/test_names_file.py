"""Names on disk: read back as they were, one winner of two, and nothing of a hostile file."""

import json
import multiprocessing
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcdist.catalogue.names import Names
from mcdist.catalogue.names_file import NamesFile
from mcdist.errors import ConfigError, DataError, MachineError, OutdatedError
from tests.catalogue.test_names import Action, actions

CENTROIDS = numpy.array([[0.6, 0.8, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]], dtype=numpy.float32)


def names_file(folder: Path, *, catalogue: str = "key") -> NamesFile:
    return NamesFile(folder / "names.json", catalogue=catalogue, num_clusters=5, num_objects=20, num_dims=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(actions, max_size=8), st.integers(0, 3))
def test_what_was_saved_is_read_back_with_its_history(tmp_path: Path, listed: list[Action], num_undone: int):
    file = names_file(tmp_path)
    file.path.unlink(missing_ok=True)
    names = file.read()
    for action in [*listed, *([Names.undo] * num_undone)]:
        try:
            names = file.change(action, revision=names.revision)
        except ConfigError:
            continue
        read = file.read()
        assert read == names and read.now.same_order(names.now)


def test_the_file_is_readable(tmp_path: Path):
    file = names_file(tmp_path)
    file.change(lambda names: names.name(3, "Käse <b>"), revision=0)
    file.change(lambda names: names.name(0, "cat").reject([4, 2]), revision=1)
    file.change(lambda names: names.split(1, centroids=CENTROIDS), revision=3)
    content = json.loads(file.path.read_text())
    assert {key: content[key] for key in ("format", "catalogue", "revision", "names", "rejected")} == {
        "format": "mcdist names 1",
        "catalogue": "key",
        "revision": 4,
        "names": {"3": "Käse <b>", "0": "cat"},
        "rejected": [2, 4],
    }
    assert content["splits"] == [{"cluster": 1, "into": [5, 6], "centroids": [[0.6, 0.8, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]}]
    assert '  "3": "Käse <b>",\n' in file.path.read_text()


def test_a_change_meant_for_an_older_revision_is_refused_and_nothing_is_lost(tmp_path: Path):
    file = names_file(tmp_path)
    file.change(lambda names: names.name(0, "cat"), revision=0)
    before = file.path.read_bytes()
    with pytest.raises(OutdatedError, match="saved since the names that you see"):
        file.change(lambda names: names.name(0, "dog"), revision=0)
    assert file.path.read_bytes() == before


@pytest.mark.parametrize(
    ("num_changes", "revision", "sentence"),
    [
        (1, 0, "one change has been saved since the names that you see (revision 0, now 1); look at the newer names"),
        (3, 1, "2 changes have been saved since the names that you see (revision 1, now 3)"),
        (1, 7, "the names that you see (revision 7) were replaced by older ones (revision 1); look at those"),
    ],
)
def test_a_refusal_says_how_many_changes_are_newer(tmp_path: Path, num_changes: int, revision: int, sentence: str):
    file = names_file(tmp_path)
    for place in range(num_changes):
        file.change(partial(Names.name, cluster=place, name="cat"), revision=place)
    with pytest.raises(OutdatedError, match=re.escape(sentence)):
        file.change(lambda names: names.name(0, "dog"), revision=revision)


def test_a_pipe_in_the_place_of_the_names_is_refused_and_not_waited_for(tmp_path: Path):
    file = names_file(tmp_path)
    os.mkfifo(file.path)
    with pytest.raises(MachineError, match="cannot read .*names.json: it is a pipe, a socket or a device"):
        file.read()


def test_background_in_capitals_is_read_as_background(tmp_path: Path):
    file = names_file(tmp_path)
    file.path.write_text(json.dumps({"format": "mcdist names 1", "catalogue": "key", "revision": 2, "names": {"0": "Background", "1": "background"}}))
    assert list(file.read().now.names.values()) == ["background", "background"]


def test_an_action_that_makes_no_sense_leaves_the_file_alone(tmp_path: Path):
    file = names_file(tmp_path)
    with pytest.raises(ConfigError):
        file.change(lambda names: names.name(7, "cat"), revision=0)
    assert not file.path.exists()


def _try_to_name(folder: Path, name: str, start, results) -> None:
    start.wait()
    try:
        names_file(folder).change(lambda names: names.name(0, name), revision=0)
        results.put(name)
    except OutdatedError:
        results.put("")


def test_of_processes_that_save_at_once_one_wins(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_try_to_name, args=(tmp_path, name, start, results)) for name in ("cat", "dog", "cow", "pig")]
    for process in processes:
        process.start()
    start.set()
    won = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join(timeout=30)
    (winner,) = [name for name in won if name]
    assert names_file(tmp_path).read().name_of(0) == winner


def test_names_of_another_catalogue_are_refused(tmp_path: Path):
    names_file(tmp_path).change(lambda names: names.name(0, "cat"), revision=0)
    with pytest.raises(DataError, match="another catalogue"):
        names_file(tmp_path, catalogue="other").read()


GOOD = {"format": "mcdist names 1", "catalogue": "key", "revision": 1, "names": {"0": "cat"}}


HOSTILE_CHANGES: list[dict[str, Any]] = [
    {"revision": -1},
    {"revision": 1.5},
    {"revision": True},
    {"revision": "1"},
    {"revision": 10**40},
    {"surprise": 1},
    {"names": {"7": "cat"}},
    {"names": {"-1": "cat"}},
    {"names": {"00": "cat"}},
    {"names": {"٣": "cat"}},
    {"names": {"9" * 5000: "cat"}},
    {"names": {"0": ["cat"]}},
    {"names": {"0": ""}},
    {"names": {"0": "a\u0000"}},
    {"names": {"0": "x" * 5000}},
    {"names": []},
    {"merged": {"1": 1}},
    {"merged": {"1": 9}},
    {"merged": {"0": 1}},
    {"merged": {"1": 2, "2": 3}},
    {"rejected": [20]},
    {"rejected": ["1"]},
    {"rejected": {"1": 2}},
    {"splits": [{"cluster": 1, "into": [5, 6], "centroids": [[0] * 6]}]},
    {"splits": [{"cluster": 1, "into": [5, 6], "centroids": [[0] * 5, [0] * 5]}]},
    {"splits": [{"cluster": 1, "into": [5, 6], "centroids": [[float("nan")] * 6, [0] * 6]}]},
    {"splits": [{"cluster": 1, "into": [5, 5], "centroids": [[0] * 6, [0] * 6]}]},
    {"splits": [{"cluster": 9, "into": [5, 6], "centroids": [[0] * 6, [0] * 6]}]},
    {"splits": [{"cluster": 1, "into": [50, 51], "centroids": [[0] * 6, [0] * 6]}]},
    {"undo": [{"what": "x", "names": [[7, "cat"]]}]},
    {"undo": [{"what": "x", "surprise": 1}]},
    {"redo": [{"what": "x", "rejected_added": [99]}]},
    {"redo": [{}]},
]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": "mcdist names 1", "catalogue": "key", "revision": 1, "names": {"0": "a", "0": "b"}}',
        b"[]",
        b"null",
        *(json.dumps(GOOD | change).encode() for change in HOSTILE_CHANGES),
    ],
)
def test_a_hostile_file_is_refused_with_one_sentence(tmp_path: Path, content: bytes):
    file = names_file(tmp_path)
    file.path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(file.path))) as caught:
        file.read()
    assert len(str(caught.value)) < 600 + len(str(file.path)) and "\n" not in str(caught.value)
    with pytest.raises(DataError):
        file.change(lambda names: names.name(0, "cat"), revision=1)
    assert file.path.read_bytes() == content


def test_a_file_that_others_wrote_by_hand_needs_no_history(tmp_path: Path):
    file = names_file(tmp_path)
    file.path.write_text(json.dumps(GOOD))
    assert file.read().name_of(0) == "cat"


def test_a_file_that_is_no_file_is_said_so(tmp_path: Path):
    (tmp_path / "names.json").mkdir()
    with pytest.raises(MachineError, match="cannot read"):
        names_file(tmp_path).read()
