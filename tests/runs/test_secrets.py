"""No secret of a URL reaches a file or the console."""

from pathlib import Path

import pytest

from mcdist import run
from mcdist.config.file import load_config
from mcdist.errors import ConfigError, MachineError
from mcdist.location import without_secrets
from tests.fixture_types import MakeShards
from tests.makers.shard_server import serve
from tests.servers import starts_a_server

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 3, lr: 0.05}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off"}
"""
URLS = ["https://me:hunter2@host/shards", "s3://hunter2@bucket/shards", "https://host/shards?signature=hunter2", "https://host/shards#hunter2"]


def holders(folder: Path) -> list[Path]:
    """Every file below `folder` that holds the secret, or has it in its name."""
    return [path for path in folder.rglob("*") if "hunter2" in path.name or (path.is_file() and b"hunter2" in path.read_bytes())]


@pytest.mark.parametrize("stage", [True, False])
@pytest.mark.parametrize("key", ["data.train", "data.val"])
@pytest.mark.parametrize("url", URLS)
def test_training_refuses_it_before_it_writes_anything(url: str, key: str, stage: bool, make_shards: MakeShards, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    others = {"data.train": str(make_shards(8)), "run.dir": str(tmp_path / "run")} | ({"data.stage_to": str(tmp_path / "here")} if stage else {}) | {key: url}
    with pytest.raises(ConfigError, match=f"{key} must be a URL without user, password, query and fragment") as caught:
        run.train_run(load_config(tmp_path / "small.yaml", overrides=[f"{name}={value}" for name, value in others.items()]))
    assert "hunter2" not in str(caught.value)
    assert not holders(tmp_path)
    assert not (tmp_path / "run").exists()


@starts_a_server
def test_a_run_whose_server_redirects_to_a_signed_address_keeps_it_nowhere(make_shards: MakeShards, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    with serve(make_shards(12)) as server:
        shards = [path.name for path in server.folder.glob("*.tar")]
        server.faults.update({name: ["redirect", 403] * 20 for name in shards})
        given = [f"data.train={server.url}", f"data.cache_dir={tmp_path / 'cache'}", f"run.dir={tmp_path / 'run'}", "data.bad_samples=skip"]
        with pytest.raises(MachineError, match=r"cannot fetch http://.*, refused at once \(403.*check network, server and credentials") as caught:
            run.train_run(load_config(tmp_path / "small.yaml", overrides=given))
        assert any(server.counts[name] >= 2 for name in shards), "the redirection was followed"
    assert "hunter2" not in str(caught.value)
    assert (tmp_path / "run" / "log.txt").is_file()
    assert not holders(tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("403, url='https://me:hunter2@host:80/a?b=hunter2'", "403, url='https://host:80/a'"),
        ("<s3://hunter2@bucket/a#hunter2> and http://host/a?hunter2, too", "<s3://bucket/a> and http://host/a too"),
        ("no URL: me:hunter2@host? yes", "no URL: me:hunter2@host? yes"),
    ],
)
def test_messages_of_other_packages_lose_what_may_be_secret(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
