"""A job goes to a real SLURM, trains and ends well: every sample once an epoch, results in the run folder."""

import pytest
from lab import NUM_STEPS, Lab

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("nodes", [2, 4])
def test_a_job_trains_to_its_end(lab: Lab, nodes: int) -> None:
    job_id = lab.submit(f"--nodes={nodes}")
    lab.wait_for_end(job_id)
    lab.check_each_sample_once_an_epoch()
    assert lab.newest().numbers["step"] == NUM_STEPS
    assert {rank for _, _, rank, _ in lab.batches()} == set(range(nodes))
