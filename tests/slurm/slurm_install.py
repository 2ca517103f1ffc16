"""SLURM's packages on Debian, installed where they are missing; no service of theirs is started."""

import os
import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "sbatch", "srun", "ip")
PACKAGES = ("munge", "slurmctld", "slurmd", "slurmdbd", "slurm-client", "mariadb-server-core", "iproute2")


def install() -> str:
    """Install what is missing; "" where SLURM can be run here, else the reason why not."""
    if os.geteuid() != 0:
        return "a SLURM cluster of their own needs root"
    if shutil.which("apt-get") is None:
        return "SLURM is installed on Debian only (no apt-get here)"
    if any(shutil.which(program) is None for program in PROGRAMS):
        failure = _apt_install()
        if failure:
            return failure
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{', '.join(missing)} are missing after installing {', '.join(PACKAGES)}" if missing else ""


def _apt_install() -> str:
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:  # no service of the packages shall start by itself
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
            command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *words]
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                return f"apt-get {words[0]} failed: {done.stderr.strip()[-300:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"apt-get did not work: {error}"
    finally:
        if ours:
            policy.unlink()
    return ""
