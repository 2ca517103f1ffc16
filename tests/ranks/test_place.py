"""A place is read from what each launcher leaves in the environment; half of it, or a contradiction, is a sentence."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdist.errors import ConfigError
from mcdist.ranks.place import FIRST_PORT, NUM_PORTS, Place, find_place, first_host, slurm_counts

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "one", "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "run", "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip
DEEPSPEED = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_SIZE": "2", "MASTER_ADDR": "one", "MASTER_PORT": "29500", "CROSS_RANK": "1", "CROSS_SIZE": "2",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "7", "SLURM_NTASKS": "7", "SLURM_PROCID": "4", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2", "SLURM_STEP_NODELIST": "gpu[08-10,12]", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1", "SLURM_RESTART_COUNT": "1",
}  # fmt: skip
SUBMITIT = {"SUBMITIT_LOCAL_JOB_ID": "123", "SUBMITIT_LOCAL_NTASKS": "2", "SUBMITIT_LOCAL_GLOBALID": "1", "SUBMITIT_LOCAL_LOCALID": "1"}


def test_without_a_launcher_there_is_one_process() -> None:
    assert find_place({}) == Place()
    assert find_place({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == Place(), "a batch script outside srun"


def test_torchrun_says_it_all() -> None:
    place = find_place(TORCHRUN)
    assert place == Place(5, 8, 1, 4, "one", 29500, "torchrun", 2, "run/8/2", store_is_served=True)
    assert find_place(TORCHRUN | SRUN) == place, "torchrun started by srun"
    assert find_place(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "3"}).session != place.session


def test_the_deepspeed_launcher_says_it_all() -> None:
    assert find_place(DEEPSPEED) == Place(3, 4, 1, 2, "one", 29500, "deepspeed", 0, "/4/0")


def test_a_task_of_srun_is_a_rank() -> None:
    place = find_place(SRUN)
    assert (place.rank, place.num_ranks, place.local_rank, place.ranks_here) == (4, 7, 0, 2)
    assert (place.address, place.launcher, place.attempt) == ("gpu08", "slurm", 1)
    assert (place.num_cores, find_place(SRUN | {"SLURM_CPUS_PER_TASK": "6"}).num_cores) == (0, 6)
    assert FIRST_PORT <= place.port < FIRST_PORT + NUM_PORTS
    assert find_place(SRUN | {"SLURM_NODEID": "3", "SLURM_PROCID": "6"}).ranks_here == 1


def test_ranks_of_a_step_agree_where_they_meet_and_the_next_job_step_and_attempt_meet_elsewhere() -> None:
    place = find_place(SRUN)
    assert find_place(SRUN | {"SLURM_PROCID": "0"}).port == place.port
    for other in ({"SLURM_JOB_ID": "4712"}, {"SLURM_STEP_ID": "1"}, {"SLURM_RESTART_COUNT": "2"}):
        elsewhere = find_place(SRUN | other)
        assert elsewhere.port != place.port
        assert elsewhere.session != place.session


def test_the_place_of_meeting_can_be_given_under_srun() -> None:
    place = find_place(SRUN | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "12345"})
    assert (place.address, place.port) == ("10.0.0.1", 12345)


def test_a_step_of_one_task_is_one_process() -> None:
    place = find_place(SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"})
    assert (place.num_ranks, place.address) == (1, "")


def test_a_task_of_submitits_local_executor_is_a_rank() -> None:
    place = find_place(SUBMITIT)
    assert (place.rank, place.num_ranks, place.local_rank, place.ranks_here, place.address) == (1, 2, 1, 2, "127.0.0.1")
    assert find_place(SUBMITIT | {"SUBMITIT_LOCAL_NTASKS": "1"}).num_ranks == 1


def test_how_many_ranks_a_node_has_may_stay_unsaid() -> None:
    place = find_place({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "one", "MASTER_PORT": "29500"})
    assert (place.local_rank, place.ranks_here, place.launcher) == (1, 2, "environment")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "0"}, "has RANK but not MASTER_ADDR, MASTER_PORT, WORLD_SIZE; start with torchrun"),
        ({"MASTER_ADDR": "one"}, "has MASTER_ADDR but not MASTER_PORT, RANK, WORLD_SIZE"),
        ({name: value for name, value in SRUN.items() if name != "SLURM_STEP_NODELIST"}, "but not SLURM_STEP_NODELIST; start with srun"),
        (TORCHRUN | {"RANK": "8"}, "contradicts itself: rank 8 of 8"),
        (TORCHRUN | {"LOCAL_RANK": "4"}, "contradicts itself: .*4 of 4 on this node"),
        (TORCHRUN | {"RANK": "first"}, "number of at least 0 in the environment variable RANK, got 'first'"),
        (TORCHRUN | {"MASTER_PORT": "99999"}, "port 99999"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "two"}, "got 'two'"),
    ],
)
def test_a_half_set_or_contradictory_environment_is_a_sentence(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_place(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("node[1-4]", "node1"),
        ("node[001-010,12],login", "node001"),
        ("a,b[1-2]", "a"),
        ("rack[2-3]n[07,9]", "rack2n07"),
        ("n[3]-ib", "n3-ib"),
    ],
)
def test_the_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize("nodes", ["", "node[", "node[a-b]", "node]1["])
def test_what_is_no_node_list_is_refused(nodes: str) -> None:
    with pytest.raises(ConfigError, match="name rank 0's host with MASTER_ADDR=HOST"):
        first_host(nodes)


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_counts_a_node_are_the_inverse_of_slurms_writing(counts: list[int]) -> None:
    runs: list[list[int]] = []
    for count in counts:
        if runs and runs[-1][0] == count:
            runs[-1][1] += 1
        else:
            runs.append([count, 1])
    assert slurm_counts(",".join(f"{count}(x{times})" if times > 1 else str(count) for count, times in runs)) == counts


def test_a_place_is_found_without_importing_torch() -> None:
    code = "import sys; from mcdist.ranks.place import find_place; find_place({}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
