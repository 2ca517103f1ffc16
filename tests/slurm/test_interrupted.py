"""What clusters do to jobs: cancelled, failed, killed, preempted, out of time, requeued, without a node. Whatever it is, no sample is lost or seen twice.

With the same number of ranks the weights are, bit for bit, those of a run that nothing disturbed.
"""

from functools import partial

import pytest

from tests.servers import starts_a_server
from tests.slurm.lab import Lab, Undisturbed

pytestmark = [pytest.mark.slurm, starts_a_server]


def test_a_cancelled_job_is_not_requeued_and_a_second_one_goes_on(lab: Lab, undisturbed: Undisturbed) -> None:
    job_id = lab.submit("--nodes=2", step_s=(1.5, 0.0))
    lab.wait_for_step(5)
    lab.cluster.ask("scancel", job_id)
    lab.wait_for_end(job_id, state="CANCELLED")
    assert lab.restarts(job_id) == 0
    lab.wait_for_end(lab.submit("--nodes=2"))
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)


def test_a_rank_that_raises_fails_the_job_for_good(lab: Lab) -> None:
    job_id = lab.submit("--nodes=2", fault="raise:1:5")
    lab.wait_for_end(job_id, state="FAILED")
    assert lab.restarts(job_id) == 0
    assert "a fault that this test wants" in lab.everything()


def test_a_job_whose_rank_was_killed_starts_again_from_its_last_checkpoint(lab: Lab, undisturbed: Undisturbed) -> None:
    job_id = lab.submit("--nodes=2", fault="kill:1:5")
    lab.wait_for_end(job_id)
    assert lab.restarts(job_id) == 1
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)


def _has_restarted(lab: Lab, job_id: str, *, times: int) -> bool:
    return lab.restarts(job_id) == times


def test_a_job_that_is_told_twice_to_go_is_requeued_twice_and_replays_nothing(lab: Lab, undisturbed: Undisturbed) -> None:
    job_id = lab.submit("--nodes=2", step_s=(1.0, 1.0, 0.0))
    for starts, step in enumerate((4, 9)):
        lab.wait_for_step(step, starts=starts)
        lab.cluster.ask("scancel", "--signal=USR2", job_id)
        lab.wait_for(partial(_has_restarted, lab, job_id, times=starts + 1), "the requeue")
    lab.wait_for_end(job_id)
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)
    assert lab.num_replayed() == 0


def test_a_preempted_job_gives_way_and_goes_on(lab: Lab, undisturbed: Undisturbed) -> None:
    job_id = lab.submit("--nodes=2", step_s=(1.5, 0.0))
    lab.wait_for_step(5)
    lab.run_something_urgent()
    lab.wait_for_end(job_id)
    assert lab.restarts(job_id) == 1
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)
    assert lab.num_replayed() == 0


def test_a_job_that_is_preempted_by_sigterm_alone_waits_for_slurm_to_requeue_it(lab: Lab, undisturbed: Undisturbed) -> None:
    """Without preempt_send_user_signal: what comes looks like scancel, and a job that left by itself would not be started again."""
    job_id = lab.submit("--nodes=2", step_s=(1.5, 0.0))
    lab.wait_for_step(5)
    with lab.cluster.configured(("SlurmctldParameters=", "#"), ("GraceTime=30", "GraceTime=12")):
        lab.run_something_urgent()
    lab.wait_for_end(job_id)
    assert lab.restarts(job_id) == 1
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)
    assert lab.num_replayed() == 0


def test_a_job_is_saved_before_its_time_is_over_and_goes_on(lab: Lab, undisturbed: Undisturbed) -> None:
    # SLURM looks at time limits every 30 s, so it tells the ranks 30 to 60 s after a start; 60 s are left to save
    job_id = lab.submit("--nodes=2", "--time=2", "--signal-delay-s=60", step_s=(4.0, 0.0))
    lab.wait_for(lambda: lab.restarts(job_id) == 1, "the time limit")
    lab.cluster.ask("scontrol", "update", f"jobid={job_id}", "timelimit=60")
    lab.wait_for_end(job_id)
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)
    assert lab.num_replayed() == 0


def test_a_job_that_loses_a_node_goes_on_with_another(lab: Lab, undisturbed: Undisturbed) -> None:
    job_id = lab.submit("--nodes=2", step_s=(1.5, 0.0))
    lab.wait_for_step(6)
    node = lab.last_node(job_id)
    lab.cluster.kill_node(node)
    try:
        lab.wait_for_end(job_id)
    finally:
        lab.cluster.start_node(node)
    assert lab.restarts(job_id) == 1
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)
    assert lab.num_replayed() <= 4, "at most checkpoint.every_steps"


def test_a_run_goes_on_with_fewer_nodes(lab: Lab, undisturbed: Undisturbed) -> None:
    job_id = lab.submit("--nodes=4", step_s=(1.5, 0.0))
    lab.wait_for_step(6)
    lab.cluster.ask("scancel", "--signal=TERM", job_id)
    lab.wait_for_end(job_id, state="FAILED")
    lab.wait_for_end(lab.submit("--nodes=2"))
    lab.check_each_sample_once_an_epoch()
    assert lab.losses() == pytest.approx(undisturbed.losses, rel=1e-3)
