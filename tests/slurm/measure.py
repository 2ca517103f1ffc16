"""How long from submission to the first optimizer step on four nodes, and from a node's crash to training again: python -m tests.slurm.measure

Starts a cluster of its own (with_cluster.py says what that needs). Importing torch is measured beside: as many processes as ranks import it at once.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.slurm.lab import Lab, make_lab
from tests.slurm.slurm_cluster import SlurmCluster
from tests.slurm.slurm_install import install


def import_torch_s(num_processes: int) -> float:
    """Until all of so many processes that start at once have imported what training imports."""
    began_s = time.monotonic()
    processes = [subprocess.Popen([sys.executable, "-c", "import mcdist.run"]) for _ in range(num_processes)]
    assert not any(process.wait(timeout=600) for process in processes)
    return time.monotonic() - began_s


def first_step_s(lab: Lab, *, nodes: int) -> float:
    """From the call of launch/slurm.py to the first step that is written down."""
    began_s = time.monotonic()
    job_id = lab.submit(f"--nodes={nodes}", step_s=(0.2,))
    lab.wait_for(lambda: lab.run.metrics.is_file() and lab.run.metrics.stat().st_size > 0, "the first step", timeout_s=600)
    took_s = time.monotonic() - began_s
    lab.cluster.ask("scancel", job_id)
    return took_s


def crash_s(lab: Lab) -> tuple[float, float]:
    """From a node's crash until the job is running again, and until a step was done that had not been done before it."""
    job_id = lab.submit("--nodes=2", step_s=(0.5,))
    lab.wait_for_step(6)
    node = lab.last_node(job_id)
    began_s = time.monotonic()
    lab.cluster.kill_node(node)
    lab.wait_for(lambda: lab.restarts(job_id) == 1 and lab.state(job_id) == "RUNNING", "the requeue", timeout_s=600)
    again_s = time.monotonic() - began_s
    lab.wait_for_step(7, starts=1)
    return again_s, time.monotonic() - began_s


def main() -> int:
    """Print both, each on a fresh run folder."""
    reason = install()
    if reason:
        print(f"no SLURM cluster: {reason}", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="mcdist-slurm-"))
    root.chmod(0o755)
    try:
        with SlurmCluster(root / "cluster") as cluster:
            labs = []
            for name in ("first_step", "crash"):
                (root / name).mkdir()
                labs.append(make_lab(root / name, cluster))
            imports_s = import_torch_s(4)
            print(f"importing torch and mcdist.run, 4 processes at once: {imports_s:.1f} s", flush=True)
            took_s = first_step_s(labs[0], nodes=4)
            print(f"submission to first optimizer step, 4 nodes: {took_s:.1f} s, {took_s - imports_s:.1f} s beyond importing torch", flush=True)
            cluster.wait_until_idle()
            running_s, training_s = crash_s(labs[1])
            print(f"node crash to running again: {running_s:.1f} s, to a step beyond those done before: {training_s:.1f} s", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
