"""Lab: one test's folder, shards and configuration, and what it does with the cluster: launch, wait for a moment, look at what was seen."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mcdist.disk.checkpoint import Checkpoint, load_checkpoint
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir, list_checkpoints
from tests.makers.tiny_shards import tiny_shards
from tests.servers import LateError
from tests.slurm.slurm_cluster import SlurmCluster

ROOT = Path(__file__).resolve().parent.parent.parent
NUM_SAMPLES, GLOBAL_BATCH, EPOCHS = 48, 8, 3
NUM_STEPS = NUM_SAMPLES * EPOCHS // GLOBAL_BATCH
CONFIG = f"""
data: {{num_workers: 1, prefetch: 2, block: 2, num_lanes: 4}}
views: {{size_px: 16, max_objects: 2}}
model: {{backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 4, bank_size: 8}}
optim: {{global_batch: {GLOBAL_BATCH}, epochs: {EPOCHS}}}
run: {{device: cpu, num_threads: 1, seed: 3, deterministic: true, rendezvous_timeout_s: 60}}
checkpoint: {{every_steps: 4}}
report: {{mlflow: "off", log_every_steps: 1, console: "off"}}
"""
START_TIMEOUT_S, END_TIMEOUT_S = 300.0, 600.0
"""Guards against a hang only: on a busy machine importing torch alone takes a minute."""


@dataclass
class Lab:
    """See the module. `run` is the run folder of the trainings."""

    folder: Path
    cluster: SlurmCluster

    @property
    def run(self) -> RunDir:
        """The run folder of this test's trainings."""
        return RunDir(self.folder / "run")

    def launch(
        self, *words: str, step_s: tuple[float, ...] = (0.0,), fault: str = "", train: bool = True, check: bool = True, timeout_s: float = 300.0
    ) -> "subprocess.CompletedProcess[str]":
        """python launch/slurm.py WORDS..., in this test's folder; with `train` on its configuration. Each step takes `step_s` longer, start by start."""
        (self.folder / "seen").mkdir(exist_ok=True)
        environment = self.cluster.environment | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent / "watch")]),
            "MCDIST_TEST_SEEN": str(self.folder / "seen"),
            "MCDIST_TEST_STEP_S": ",".join(map(str, step_s)),
            "MCDIST_TEST_FAULT": fault,
            "OMP_NUM_THREADS": "1",
        }
        options = [word for word in words if word.startswith("-")]
        overrides = [word for word in words if not word.startswith("-")]
        given = {word.partition("=")[0] for word in overrides}
        places = {"run.dir": self.run.root, "data.train": self.folder / "shards"}
        settings = [str(self.folder / "config.yaml"), *(f"{key}={place}" for key, place in places.items() if key not in given)] if train else []
        command = [sys.executable, str(ROOT / "launch" / "slurm.py"), *(options if train else words), *settings, *(overrides if train else [])]
        done = subprocess.run(
            self.cluster.command(*command),
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def submit(self, *words: str, step_s: tuple[float, ...] = (0.0,), fault: str = "", train: bool = True) -> str:
        """Launch; the id of the (first) job."""
        said = self.launch(*words, step_s=step_s, fault=fault, train=train).stdout
        assert "submitted job " in said, said
        return said.split("submitted job ")[1].split()[0]

    def state(self, job_id: str) -> str:
        """The job's state, as the controller has it."""
        return self.cluster.ask("squeue", "-h", "-a", "-t", "all", "-j", job_id, "-o", "%T").strip()

    def last_node(self, job_id: str) -> int:
        """The number of the last of the job's nodes."""
        names = self.cluster.ask("scontrol", "show", "hostnames", self.cluster.ask("squeue", "-h", "-j", job_id, "-o", "%N").strip()).split()
        assert names, f"job {job_id} has no nodes\n{self.everything()}"
        return self.cluster.nodes.index(names[-1]) + 1

    def wait_for(self, is_so: Callable[[], bool], what: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait for a moment; a failure shows all that the jobs and daemons wrote."""
        until_s = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > until_s:
                raise LateError(f"waited {timeout_s:g} s for {what}\n{self.everything()}")
            time.sleep(0.1)

    def wait_for_end(self, job_id: str, *, state: str = "COMPLETED") -> None:
        """Wait until the job is over, and it is over as it should be."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE")
        self.wait_for(lambda: self.state(job_id) in over, f"the end of job {job_id}", timeout_s=END_TIMEOUT_S)
        assert self.state(job_id) == state, f"job {job_id} is {self.state(job_id)}, not {state}\n{self.everything()}"

    def run_something_urgent(self) -> None:
        """A job of a higher partition that takes all nodes, to its end."""
        job_id = self.cluster.ask("sbatch", "--parsable", "-p", "high", "-N4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2").strip()
        assert job_id, "sbatch did not take the urgent job"
        self.wait_for_end(job_id)

    def wait_for_step(self, step: int, *, starts: int = 0) -> None:
        """Wait until a rank is about to do the step after `step`, in a start after the first `starts`."""
        self.wait_for(lambda: any(position >= step * GLOBAL_BATCH for _, position, _, _ in self.batches(min_restarts=starts)), f"step {step}")

    def batches(self, *, min_restarts: int = 0) -> list[tuple[str, int, int, list[int]]]:
        """(start, samples consumed before this batch, rank, its sample indices) of all batches of all starts, each start's in order."""
        found = []
        for path in sorted((self.folder / "seen").glob("*"), key=lambda path: int(path.name.split(".")[2])):
            job, restarts, moment, _ = path.name.split(".")
            if int(restarts) < min_restarts:
                continue
            own = 0
            for line in path.read_text().splitlines():
                batch = json.loads(line)
                step = own * batch["num_ranks"] // GLOBAL_BATCH
                found.append((f"{job}.{restarts}", batch["consumed"] + step * GLOBAL_BATCH, batch["rank"], batch["indices"]))
                own += len(batch["indices"])
        return found

    def check_each_sample_once_an_epoch(self, *, num_steps: int = NUM_STEPS) -> None:
        """Whatever happened: the steps that made the final weights took each sample once in every epoch, and a step done again took the same samples."""
        taken: dict[int, dict[str, list[int]]] = {}
        for start, position, _, indices in self.batches():
            taken.setdefault(position, {}).setdefault(start, []).extend(indices)
        for position, starts in taken.items():
            whole = {tuple(sorted(indices)) for indices in starts.values() if len(indices) == GLOBAL_BATCH}
            assert len(whole) == 1, f"at {position} different starts took {starts}"
        assert sorted(taken)[:num_steps] == list(range(0, num_steps * GLOBAL_BATCH, GLOBAL_BATCH)), sorted(taken)
        history = [index for position in sorted(taken)[:num_steps] for index in max(taken[position].values(), key=len)]
        for epoch in range(num_steps * GLOBAL_BATCH // NUM_SAMPLES):
            assert sorted(history[epoch * NUM_SAMPLES : (epoch + 1) * NUM_SAMPLES]) == list(range(NUM_SAMPLES))
        assert self.newest().numbers["samples_consumed"] == num_steps * GLOBAL_BATCH

    def num_replayed(self) -> int:
        """Steps that more than one start trained on a checkpointed state; a batch that was only fetched when the stop came was never trained on."""
        positions = [position for start in {start for start, *_ in self.batches()} for position in {p for s, p, *_ in self.batches() if s == start}]
        return sum(count - 1 for count in Counter(positions).values())

    def restarts(self, job_id: str) -> int:
        """How often SLURM has started the job again."""
        found = re.search(r"Restarts=(\d+)", self.cluster.ask("scontrol", "show", "job", "-o", job_id))
        return int(found.group(1)) if found else 0

    def check_same_weights(self, reference: Checkpoint) -> None:
        """Every tensor of the last checkpoint (weights, momentum, bank) is bit for bit that of a run that nothing disturbed."""
        tensors = self.newest().tensors
        assert tensors.keys() == reference.tensors.keys()
        different = [name for name, tensor in tensors.items() if not torch.equal(tensor, reference.tensors[name])]
        assert not different, f"{len(different)} of {len(tensors)} tensors differ: {different[:5]}"

    def losses(self) -> list[float]:
        """The loss of every step, in order."""
        return [record.value for record in read_metrics(self.run.metrics) if record.name == "loss"]

    def newest(self) -> Checkpoint:
        """The newest checkpoint of the run."""
        return load_checkpoint(list_checkpoints(self.run.checkpoints)[-1])

    def everything(self) -> str:
        """All logs: of the tasks, and the ends of the daemons'."""
        logs = sorted(path for path in self.folder.rglob("*.out") if path.is_file())
        texts = [f"=== {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in logs]
        return "\n".join([self.cluster.ask("squeue", "-a", "-t", "all"), *texts, self.cluster.log_tails()])


def make_lab(folder: Path, cluster: SlurmCluster) -> Lab:
    """A lab with its configuration and shards in `folder`."""
    (folder / "config.yaml").write_text(CONFIG)
    tiny_shards(folder / "shards", NUM_SAMPLES)
    return Lab(folder, cluster)


@dataclass(frozen=True)
class Undisturbed:
    """What a run on two ranks comes to where nothing happens: its last checkpoint and its losses."""

    last: Checkpoint
    losses: list[float]
