"""A SLURM cluster for the tests of this folder: installed where it can be, started once, ended whatever happens."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.lab import Lab, Undisturbed, make_lab
from tests.slurm.slurm_cluster import ClusterError, SlurmCluster
from tests.slurm.slurm_install import install


def _running(*, isolated: bool) -> Iterator[SlurmCluster]:
    reason = install()
    if reason:
        pytest.skip(reason)
    root = Path(tempfile.mkdtemp(prefix="mcdist-slurm-"))
    root.chmod(0o755)
    try:
        cluster = SlurmCluster(root / "cluster", isolated=isolated)
        try:
            cluster.__enter__()
        except (ClusterError, OSError) as error:
            pytest.skip(f"no SLURM cluster can be started here: {error}")
        try:
            yield cluster
        finally:
            cluster.__exit__()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """Four nodes that share this machine's network."""
    yield from _running(isolated=False)


@pytest.fixture(scope="session")
def isolated_cluster() -> Iterator[SlurmCluster]:
    """Four nodes, each with a network of its own that can be cut."""
    yield from _running(isolated=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: SlurmCluster) -> Undisturbed:
    """Trained once, as local processes: what SLURM does to a job must not change it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    lab = make_lab(folder, cluster)
    lab.launch("--cluster=local", "--nodes=2")
    lab.check_each_sample_once_an_epoch()
    return Undisturbed(lab.newest(), lab.losses())


def _lab(folder: Path, cluster: SlurmCluster) -> Iterator[Lab]:
    yield make_lab(folder, cluster)
    cluster.ask("scancel", "-u", "root")
    cluster.wait_until_empty()
    assert cluster.wait_until_idle(), cluster.log_tails()


@pytest.fixture
def lab(tmp_path: Path, cluster: SlurmCluster) -> Iterator[Lab]:
    """A fresh folder with shards; afterwards the cluster is idle again."""
    yield from _lab(tmp_path, cluster)


@pytest.fixture
def isolated_lab(tmp_path: Path, isolated_cluster: SlurmCluster) -> Iterator[Lab]:
    """The same on the cluster whose nodes can be cut off."""
    yield from _lab(tmp_path, isolated_cluster)
