"""A small run with a catalogue, for the tests of everything that reads one."""

from pathlib import Path

from mcdist import run
from mcdist.config.file import load_config
from mcdist.run_dir import RunDir
from mcdist.workflows.cataloguing import cluster_run
from tests.fixture_types import ShardsAt

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, trainable_from: 3, norm: frozen, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 8, lr: 0.05}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off"}
evaluate: {size_px: 32, batch: 4, chunk: 4, component_area_min: 0.0}
"""


def trained_run(root: Path, *, shards_at: ShardsAt) -> RunDir:
    """A run on twelve generated photos with two objects each."""
    (root / "small.yaml").write_text(SMALL)
    shards = shards_at(root / "shards", 12)
    config = load_config(root / "small.yaml", overrides=[f"data.train={shards}", f"run.dir={root / 'run'}"])
    assert run.train_run(config) == 0
    return RunDir(root / "run")


def catalogued_run(root: Path, *, shards_at: ShardsAt) -> RunDir:
    """`trained_run` with a catalogue of three clusters."""
    run_dir = trained_run(root, shards_at=shards_at)
    assert cluster_run(run_dir, num_clusters=3) is not None
    return run_dir
