"""A node whose network is cut trains on, while SLURM starts its job again elsewhere: the older attempt can write nothing any more."""

import pytest

from mcdist.disk.checkpoint import load_checkpoint
from mcdist.run_dir import RunDir, list_checkpoints
from tests.servers import starts_a_server
from tests.slurm.lab import Lab

pytestmark = [pytest.mark.slurm, starts_a_server]


def test_what_was_cut_off_and_replaced_writes_nothing_any_more(isolated_lab: Lab) -> None:
    lab = isolated_lab
    lab.launch("--cluster=local", f"run.dir={lab.folder / 'alone'}")
    reference = load_checkpoint(list_checkpoints(RunDir(lab.folder / "alone").checkpoints)[-1])
    for path in (lab.folder / "seen").iterdir():
        path.unlink()

    job_id = lab.submit("--nodes=1", step_s=(5.0, 0.0))
    lab.wait_for_step(2)
    node = lab.last_node(job_id)
    lab.cluster.cut(node)
    try:
        lab.cluster.ask("scontrol", "update", f"nodename={lab.cluster.nodes[node - 1]}", "state=DOWN", "reason=cut")
        lab.wait_for_step(9, starts=1)
        lab.wait_for(lambda: "is held by attempt 2" in lab.everything(), "the older attempt's farewell")
        lab.wait_for_end(job_id)
    finally:
        lab.cluster.plug(node)
        lab.cluster.ask("scontrol", "update", f"nodename={lab.cluster.nodes[node - 1]}", "state=RESUME")
    assert lab.restarts(job_id) == 1
    lab.check_each_sample_once_an_epoch()
    lab.check_same_weights(reference)
