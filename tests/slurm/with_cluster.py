"""A SLURM cluster for a person: python -m tests.slurm.with_cluster [COMMAND...]. Four nodes run while COMMAND (default: your shell) does; then all is ended.

Debian and root; what is missing is installed. No nodes beyond this machine, no GPUs: jobs see two copies of /dev/null.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.slurm_cluster import SlurmCluster
from tests.slurm.slurm_install import install


def main(command: list[str]) -> int:
    """Run the command on a cluster; its exit code."""
    reason = install()
    if reason:
        print(f"no SLURM cluster: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _leave)
    root = Path(tempfile.mkdtemp(prefix="mcdist-slurm-"))
    root.chmod(0o755)
    try:
        with SlurmCluster(root / "cluster") as cluster:
            print(f"four nodes are up, SLURM_CONF={cluster.environment['SLURM_CONF']}", file=sys.stderr)
            return subprocess.run(command or [os.environ.get("SHELL", "/bin/sh")], env=cluster.environment, check=False).returncode
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _leave(number: int, frame: object) -> None:
    """Ends the cluster too; a second signal (timeout sends two) shall not end that half-way."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
