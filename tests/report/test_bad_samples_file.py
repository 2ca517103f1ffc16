import json
from pathlib import Path

import pytest

from mcdist.errors import DataError, MachineError
from mcdist.report.bad_samples import BadSamplesFile, read_bad_samples
from mcdist.report.page.html import _bad_samples

LINE = {"epoch": 0, "shard": "shard-000003.tar", "key": "cat", "index": 800, "reason": "the photo has no bytes"}


def test_lines_are_kept_with_their_step_and_cut_where_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "bad_samples.jsonl"
    file = BadSamplesFile(path, after_step=0)
    assert not path.exists(), "no file without a bad sample"
    file.write(5, [json.dumps(LINE)])
    file.write(9, [json.dumps(LINE), json.dumps(LINE)])
    assert [line["step"] for line in read_bad_samples(path)] == [5, 9, 9]
    file.close()
    BadSamplesFile(path, after_step=5).close()
    assert read_bad_samples(path) == [{"step": 5, **LINE}]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bad_samples.jsonl"
    file = BadSamplesFile(path, after_step=0)
    file.write(5, [json.dumps(LINE)])
    file.close()
    path.write_text(path.read_text() + '{"step": 6, "ep')
    assert len(read_bad_samples(path)) == 1


@pytest.mark.parametrize("text", ["3\n", "not json\n", '{"step": 1}\n', '{"step": "1", "epoch": 0, "shard": "", "key": "", "index": 0, "reason": ""}\n'])
def test_a_whole_line_of_another_kind_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad_samples.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match="bad_samples.jsonl:1 must be one bad sample as JSON"):
        read_bad_samples(path)


def test_a_writer_whose_file_was_made_anew_no_longer_reaches_it_and_one_without_its_folder_makes_none(tmp_path: Path) -> None:
    path, folder = tmp_path / "bad_samples.jsonl", tmp_path / "attempt"
    folder.mkdir()
    late = BadSamplesFile(path, after_step=0, folder=folder)
    early = BadSamplesFile(path, after_step=0)
    early.write(1, [json.dumps(LINE)])
    newer = BadSamplesFile(path, after_step=1)
    early.write(2, [json.dumps(LINE)])
    newer.write(3, [json.dumps(LINE)])
    assert [line["step"] for line in read_bad_samples(path)] == [1, 3]
    folder.rmdir()
    with pytest.raises(MachineError, match="cannot write .*bad_samples.jsonl"):
        late.write(4, [json.dumps(LINE)])
    assert [line["step"] for line in read_bad_samples(path)] == [1, 3]
    early.close()
    newer.close()


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot write .*gone"):
        BadSamplesFile(tmp_path / "gone" / "bad_samples.jsonl", after_step=0).write(5, [json.dumps(LINE)])


def test_the_report_shows_each_sample_once_and_says_how_many_more() -> None:
    listed = [{"step": 1, **LINE, "index": index, "key": ""} for index in range(30)]
    facts = _bad_samples(2 * listed)
    assert len(facts) == 21
    assert facts[3].name == "shard-000003.tar, 3"
    assert facts[-1].name == "10 more"
