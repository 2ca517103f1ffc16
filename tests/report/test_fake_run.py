"""The generated run of these tests claims nothing that no run writes."""

from pathlib import Path

from mcdist import run
from mcdist.config.file import load_config
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir
from tests.fixture_types import MakeShards
from tests.report.fake_run import make_records

CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 1}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off", console: "off", log_every_steps: 1}
"""


def test_every_record_of_the_generated_run_is_one_that_a_real_run_writes(tmp_path: Path, make_shards: MakeShards) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "config.yaml", overrides=[f"data.train={make_shards(4)}", f"run.dir={tmp_path / 'run'}"])
    assert run.train_run(config) == 0
    written = {(record.name, record.unit) for record in read_metrics(RunDir(tmp_path / "run").metrics)}
    generated = {(record.name, record.unit) for record in make_records(num_steps=10)}
    assert generated <= written
    assert {name for name, _ in written - generated} == {"count/bad_samples"}
