"""Jobs go to a real SLURM and end well: every sample once an epoch, results in the run folder; impossible ones do not even begin."""

import pytest

from tests.servers import starts_a_server
from tests.slurm.lab import NUM_STEPS, Lab, Undisturbed

pytestmark = [pytest.mark.slurm, starts_a_server]


def test_a_job_on_two_nodes_comes_to_what_two_local_processes_come_to(lab: Lab, undisturbed: Undisturbed) -> None:
    shown = lab.launch("--nodes=2", "--dry-run").stdout
    job_id = lab.submit("--nodes=2")
    lab.wait_for_end(job_id)
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(undisturbed.last)
    assert lab.losses() == undisturbed.losses
    assert (lab.run.launch / "0001" / "submission.sh").read_text() == shown
    assert shown in lab.cluster.ask("scontrol", "write", "batch_script", job_id, "-")


def test_a_job_on_four_nodes_is_followed_to_its_end_and_evaluated(lab: Lab) -> None:
    classes = "evaluate.classes={background: [0], left: [1], right: [2]}"
    settings = (f"data.val={lab.folder / 'shards'}", classes, "evaluate.size_px=32", "evaluate.pca_dim=2", "evaluate.num_seeds=1", "evaluate.limit=12")
    said = lab.launch("--nodes=4", "--evaluate", "--wait", *settings).stdout
    assert "COMPLETED" in said and f"step {NUM_STEPS}" in said, said
    lab.check_each_sample_once_an_epoch()
    assert {rank for _, _, rank, _ in lab.batches()} == {0, 1, 2, 3}
    assert lab.run.evaluation.is_file() and lab.run.report.is_file()


def test_a_sweep_trains_a_run_for_each_value(lab: Lab) -> None:
    said = lab.launch("--sweep=optim.lr=0.01,0.02", "--wait", "optim.epochs=1").stdout
    assert said.count("COMPLETED") == 2, said
    for value in ("0.01", "0.02"):
        assert (lab.run.root / f"optim.lr={value}" / "checkpoints" / "step_00000006").is_dir()


def test_a_second_job_on_one_run_folder_is_refused(lab: Lab) -> None:
    job_id = lab.submit("--nodes=1", step_s=(5.0,))
    refused = lab.launch("--nodes=1", check=False)
    assert refused.returncode == 2 and f"job {job_id} on" in refused.stderr, refused.stderr
    lab.cluster.ask("scancel", job_id)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nodes=5"], "--nodes 5 is more than partition main has: 4 nodes"),
        (["--gpus-per-node=3"], "--gpus-per-node 3 is more than partition main has: 2 GPUs a node"),
        (["--partition=fast"], "--partition fast is not one of this cluster's: "),
        (["--time=2-00"], "--time in minutes 2880 is more than partition main has: 1440 minutes"),
        (["--mem=900G"], "SLURM refused the job: sbatch: error: "),
        (["--constraint=h100"], "SLURM refused the job: sbatch: error: "),
    ],
)
def test_the_impossible_is_refused_in_our_words_or_in_slurms(lab: Lab, words: list[str], message: str) -> None:
    done = lab.launch(*words, "optim.global_batch=30", "data.num_lanes=30", check=False)
    assert done.returncode in (2, 7) and message in done.stderr, done.stderr
    assert not lab.cluster.ask("squeue", "-h")
