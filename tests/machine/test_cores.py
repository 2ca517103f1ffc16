"""Cores are those of the affinity, less what a container's limit takes; threads that wait for each other get one physical, fast core each."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcdist.machine import doctor
from mcdist.machine.cores import cpu_limit, num_compute_cores, num_cores

Tree = Callable[..., Path]
V1_GROUP = "3:memory:/elsewhere\n4:cpu,cpuacct:/docker/abc\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A root folder with these files, on a machine of `cpus` logical processors."""

    def make(files: dict[str, str], *, cpus: int = 8) -> Path:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cpus)), raising=False)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def v2(quota: str, *, at: str = "", group: str = "/") -> dict[str, str]:
    return {"proc/self/cgroup": f"0::{group}\n", f"sys/fs/cgroup{at}/cpu.max": f"{quota}\n"}


@pytest.mark.parametrize(
    ("files", "limit", "cores"),
    [
        ({}, None, 8),
        (v2("max 100000"), None, 8),
        (v2("400000 100000"), 4, 4),
        (v2("50000 100000"), 0.5, 1),
        (v2("150000 100000"), 1.5, 2),
        (v2("1000000 100000"), 10, 8),
        (v2("30000 10000", at="/a/b", group="/a/b"), 3, 3),
        (v2("30000 10000", at="/a", group="/a/b"), 3, 3),
        (v2("30000 10000", group="/of/the/host/that/is/not/seen/inside"), 3, 3),
        (v2("30000 10000", group="/../../outside"), 3, 3),
        (v2("300000 100000", at="/a", group="/a/b") | {"sys/fs/cgroup/a/b/cpu.max": "200000 100000\n"}, 2, 2),
        ({"proc/self/cgroup": V1_GROUP, "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000\n"}, None, 8),
        (
            {
                "proc/self/cgroup": V1_GROUP,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            2,
            2,
        ),
        ({"proc/self/cgroup": V1_GROUP, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 0.5, 1),
        ({"proc/self/cgroup": V1_GROUP, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None, 8),
        (v2("nonsense"), None, 8),
        (v2("100000 0"), None, 8),
        ({"proc/self/cgroup": "no colon\n"}, None, 8),
    ],
)
def test_a_limit_is_that_of_the_tightest_group(files: dict[str, str], limit: float | None, cores: int, tree: Tree) -> None:
    root = tree(files)
    assert cpu_limit(root) == limit
    assert (num_cores(root), num_compute_cores(root)) == (cores, cores)


def siblings(*groups: str) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{group}\n" for group in groups for cpu in group.replace("-", ",").split(",")}


def test_logical_processors_of_one_core_compute_once(tree: Tree) -> None:
    root = tree(siblings("0,4", "1,5", "2,6", "3,7"))
    assert (num_cores(root), num_compute_cores(root)) == (8, 4)


def test_only_fast_cores_compute_side_by_side(tree: Tree) -> None:
    root = tree(siblings("0-1", "2-3", "4", "5", "6", "7") | {"sys/devices/cpu_core/cpus": "0-3\n", "sys/devices/cpu_atom/cpus": "4-7\n"})
    assert (num_cores(root), num_compute_cores(root)) == (8, 2)


def test_a_process_that_is_bound_to_slow_cores_computes_on_them(tree: Tree) -> None:
    root = tree({"sys/devices/cpu_core/cpus": "4-7\n"}, cpus=3)
    assert num_compute_cores(root) == 3


def test_a_system_without_affinity_counts_its_processors(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({})
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert (num_cores(root), num_compute_cores(root)) == (1, 1)


def test_the_doctor_names_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cpu_limit", lambda: 0.5)
    assert doctor._processor().detail.endswith("; a control group allows 0.5 cores' worth of time")
