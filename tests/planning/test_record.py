"""Records: what a discovery began with is what it goes on with."""

import json
from pathlib import Path

import pytest

from mcdist.errors import ConfigError, DataError
from mcdist.planning.plan import plan_for
from mcdist.planning.record import RECORD_NAME, Record, listing_of, read_record, require_same, write_record
from tests.planning.test_plan import COSTS

NAMES = ["a.jpg", "b/c.png"]


def record_of(photos: Path, **changes) -> Record:
    fields = {"method": "ensemble", "overrides": ("optim.epochs=3",), "minutes": 15.0, "plan": plan_for(2), "costs": COSTS, **changes}
    return Record(photos=str(photos.resolve()), num_photos=2, listing=listing_of(NAMES), names=tuple(NAMES), **fields)


@pytest.mark.parametrize("changes", [{}, {"costs": None, "minutes": None, "overrides": ()}])
def test_a_record_is_read_as_it_was_written(tmp_path, changes):
    write_record(tmp_path, record_of(tmp_path, **changes))
    assert read_record(tmp_path) == record_of(tmp_path, **changes)


def test_a_new_folder_and_an_empty_one_have_none(tmp_path):
    assert read_record(tmp_path / "new") is None and read_record(tmp_path) is None


def test_what_a_kill_left_before_there_was_a_record_is_no_reason_to_refuse(tmp_path):
    (tmp_path / "trial" / "few").mkdir(parents=True)
    (tmp_path / f".{RECORD_NAME}.123").write_text("{")
    assert read_record(tmp_path) is None


def test_another_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something that mcdist discover did not begin"):
        read_record(tmp_path)
    with pytest.raises(ConfigError, match="it is a file"):
        read_record(tmp_path / "thesis.txt")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mcdist discover 9"}'])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / RECORD_NAME).write_text(text)
    with pytest.raises(DataError, match="is damaged"):
        read_record(tmp_path)


def test_what_is_not_given_again_is_as_it_was_and_what_differs_is_named(tmp_path):
    record = record_of(tmp_path)
    require_same(record, photos=tmp_path, names=NAMES, method=None, overrides=(), minutes=None)
    require_same(record, photos=tmp_path, names=NAMES, method="ensemble", overrides=["optim.epochs=3"], minutes=15.0)
    for given, sentence in (
        ({"method": "sam"}, "began with --proposals ensemble, got sam"),
        ({"minutes": 5.0}, "began with --minutes 15.0, got 5.0"),
        ({"overrides": ["optim.epochs=4"]}, "began with the settings"),
        ({"photos": tmp_path / "other"}, "began with PHOTOS"),
        ({"names": [*NAMES, "d.jpg"]}, "other photos than the 2 of which this discovery was begun; new: d.jpg; put them back"),
        ({"names": NAMES[1:]}, "was begun; missing: a.jpg; put them back"),
        ({"names": [f"{number}.jpg" for number in range(5)]}, "; missing: a.jpg, b/c.png; new: 0.jpg, 1.jpg, 2.jpg and 2 more; put"),
    ):
        arguments: dict = {"photos": tmp_path, "names": NAMES, "method": None, "overrides": (), "minutes": None, **given}
        with pytest.raises(ConfigError, match=sentence):
            require_same(record, **arguments)


def test_a_record_of_an_earlier_version_knows_no_names_and_still_sees_a_difference(tmp_path):
    write_record(tmp_path, record_of(tmp_path))
    content = json.loads((tmp_path / RECORD_NAME).read_text())
    del content["names"]
    (tmp_path / RECORD_NAME).write_text(json.dumps(content))
    record = read_record(tmp_path)
    assert record is not None and record.names == ()
    with pytest.raises(ConfigError, match="the 2 of which this discovery was begun; put them back"):
        require_same(record, photos=tmp_path, names=NAMES[1:], method=None, overrides=(), minutes=None)
