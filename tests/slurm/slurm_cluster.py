"""A real SLURM cluster on one machine, for tests: munged, slurmctld, slurmdbd on a MariaDB of its own, and a slurmd for each node with two pretend GPUs.

No systemd, no cgroups, nothing global but the node names: these stand in /etc/hosts while the cluster runs (or, isolated, in /etc/netns). All daemons are
children of this process, with ports that were free, in one folder. Isolated, each node has its own network, host name and process ids, and can be cut off.
Written for SLURM 22.05 as Debian 12 has it.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.slurm.slurm_conf import PARTITIONS, SLURM_CONF, SLURMDBD_CONF

HOSTS = Path("/etc/hosts")
NETNS = Path("/etc/netns")
CONTROLLER_IP = "10.77.0.254"
GPUS_PER_NODE = 2
START_TIMEOUT_S = 90.0


class ClusterError(RuntimeError):
    """The cluster cannot be made here; the message says why."""


class SlurmCluster:
    """Use as a context. `environment` and `command` are for whoever talks to it."""

    def __init__(self, root: Path, *, num_nodes: int = 4, isolated: bool = False) -> None:
        self.root, self.num_nodes, self.isolated = root, num_nodes, isolated
        self.ports = _free_ports(4 + num_nodes)
        self.tag = f"m{self.ports[0]}"
        self.nodes = [f"{self.tag}n{number}" for number in range(1, num_nodes + 1)]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.host = socket.gethostname().split(".")[0]

    @property
    def environment(self) -> dict[str, str]:
        """Of everyone who talks to the cluster."""
        return {**os.environ, "SLURM_CONF": str(self.root / "slurm.conf")}

    def command(self, *words: str) -> list[str]:
        """A command as it reaches the cluster's network."""
        return ["ip", "netns", "exec", f"{self.tag}ctl", *words] if self.isolated else list(words)

    def ask(self, *words: str, timeout_s: float = 30.0) -> str:
        """What one of SLURM's commands prints; "" where it fails."""
        try:
            return subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""

    def __enter__(self) -> "SlurmCluster":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """End all jobs, then every daemon, the nodes first; forget the names."""
        self.ask("scancel", "-u", "root", timeout_s=5)
        self.wait_until_empty(timeout_s=10)
        try:
            for name in (*self.nodes, "slurmctld", "slurmdbd", "mariadbd", "munged"):
                if name in self.daemons:
                    self._end(name)
            for name in self.nodes:
                self._kill_processes_of(name)
        finally:
            self._forget_names()

    def kill_node(self, number: int) -> None:
        """A node crashes: its slurmd, slurmstepds and tasks are gone at once, and the controller is told nothing."""
        name = self.nodes[number - 1]
        daemon = self.daemons.pop(name)
        if self.isolated:
            os.kill(_only_child(daemon.pid), signal.SIGKILL)  # its process 1, and with it all the others
        else:
            daemon.kill()
            self._kill_processes_of(name)
        daemon.wait()

    def start_node(self, number: int) -> None:
        """A node comes (back) up."""
        name = self.nodes[number - 1]
        if self.isolated:
            reaper = f'hostname {name}; trap "kill -TERM \\$p" TERM; slurmd -D & p=$!; while kill -0 $p 2>/dev/null; do wait $p; done'
            prefix = ["ip", "netns", "exec", name, "unshare", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "bash", "-c", reaper]
            self._begin(name, prefix)
        else:
            self._begin(name, ["slurmd", "-D", "-N", name])

    def cut(self, number: int) -> None:
        """Pull the network cable of a node."""
        self._link(number, "down")

    def plug(self, number: int) -> None:
        """Put it back."""
        self._link(number, "up")

    @contextmanager
    def configured(self, *changes: tuple[str, str]) -> Iterator[None]:
        """Other settings for a while: (a text of slurm.conf, what stands there instead)."""
        path = self.root / "slurm.conf"
        before = path.read_text()
        after = before
        for old, new in changes:
            assert old in after, f"{old} is not in slurm.conf"
            after = after.replace(old, new)
        try:
            path.write_text(after)
            self.ask("scontrol", "reconfigure")
            yield
        finally:
            path.write_text(before)
            self.ask("scontrol", "reconfigure")

    def wait_until_empty(self, *, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Whether no job waits or runs any more in time."""
        return _until(lambda: not self.ask("squeue", "-h", timeout_s=5).strip(), timeout_s=timeout_s)

    def wait_until_idle(self, *, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Whether all nodes are free in time."""
        return _until(lambda: self.ask("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N").split() == sorted(self.nodes), timeout_s=timeout_s)

    def log_tails(self, num_lines: int = 8) -> str:
        """The ends of the daemons' logs, for a message."""
        paths = sorted(path for path in (self.root / "log").glob("*.log") if path.name not in (f"{name}.log" for name in self.nodes))
        return "\n".join(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-num_lines:]) for path in paths)

    def _start(self) -> None:
        for name in ("munge", "state", "spool", "log", "run", "sql", "dev"):
            (self.root / name).mkdir(parents=True)
        for folder in (self.root, self.root / "munge"):
            folder.chmod(0o755)
        for name in self.nodes:
            (self.root / "spool" / name).mkdir()
        self._learn_names()
        self._write_configuration()
        self._begin_munge()
        self._begin_accounting()
        self._begin("slurmctld", self.command("slurmctld", "-D"))
        for number in range(1, self.num_nodes + 1):
            self.start_node(number)
        if not self.wait_until_idle():
            raise ClusterError(f"SLURM did not come up within {START_TIMEOUT_S:g} s: {self.ask('sinfo', '-N', '-l')}\n{self.log_tails()}")
        self._try_out()

    def _try_out(self) -> None:
        """Nodes may be idle and no job able to run, on a machine that forbids what slurmd does: a job on all nodes, and what accounting says of it."""
        command = ("sbatch", "--parsable", "--wait", "-N", str(self.num_nodes), "-o", "/dev/null", "--wrap", "srun true")
        job_id = self.ask(*command, timeout_s=START_TIMEOUT_S).strip()
        if not job_id or not _until(lambda: "COMPLETED" in self.ask("sacct", "-n", "-X", "-j", job_id, "-o", "State"), timeout_s=START_TIMEOUT_S):
            raise ClusterError(f"a job that does nothing did not run to its end here\n{self.log_tails()}")
        self.wait_until_idle()

    def _begin(self, name: str, command: list[str]) -> None:
        with (self.root / "log" / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=_die_with_parent
            )

    def _end(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        if name in self.nodes and self.isolated:
            with suppress(ProcessLookupError, ClusterError):
                os.kill(_only_child(daemon.pid), signal.SIGTERM)
        else:
            daemon.terminate()
        try:
            daemon.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()

    def _begin_munge(self) -> None:
        munge = self.root / "munge"
        (munge / "munge.key").write_bytes(os.urandom(128))
        (munge / "munge.key").chmod(0o600)
        files = [f"--key-file={munge}/munge.key", f"--socket={munge}/munge.socket", f"--seed-file={munge}/seed"]
        files += [f"--pid-file={self.root}/run/munged.pid", f"--log-file={self.root}/log/munged.log"]
        self._begin("munged", ["munged", "--foreground", "--force", "--num-threads=2", *files])
        self._need(lambda: (munge / "munge.socket").exists(), "munged")

    def _begin_accounting(self) -> None:
        """submitit asks sacct, so accounts are needed: a MariaDB without grants, on loopback, for this cluster only."""
        sql = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={self.root}/sql", f"--socket={self.root}/run/sql.sock"]
        sql += [f"--pid-file={self.root}/run/mariadbd.pid", "--bind-address=127.0.0.1", f"--port={self.ports[1]}", "--skip-grant-tables"]
        sql += ["--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=8M"]
        sql += ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-lock-wait-timeout=900"]
        self._begin("mariadbd", self.command(*sql))
        self._need(self._sql_listens, "mariadbd")
        self._begin("slurmdbd", self.command("slurmdbd", "-D"))
        self._need(lambda: self._succeeds("sacctmgr", "-n", "-r", "list", "cluster"), "slurmdbd")
        self.ask("sacctmgr", "-Q", "-i", "add", "cluster", "testcluster")

    def _sql_listens(self) -> bool:
        return (self.root / "run" / "sql.sock").exists() and self.ask("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{self.ports[1]} && echo yes") == "yes\n"

    def _succeeds(self, *words: str) -> bool:
        try:
            return subprocess.run(self.command(*words), env=self.environment, capture_output=True, timeout=10, check=False).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False

    def _need(self, is_there: Callable[[], bool], name: str) -> None:
        if not _until(lambda: self.daemons[name].poll() is not None or is_there(), timeout_s=START_TIMEOUT_S) or self.daemons[name].poll() is not None:
            raise ClusterError(f"{name} did not start: {self.log_tails()}")

    def _write_configuration(self) -> None:
        address = CONTROLLER_IP if self.isolated else "127.0.0.1"
        lines = [
            f"NodeName={name} NodeAddr=10.77.0.{number} Port={self.ports[4]}"
            if self.isolated
            else f"NodeName={name} NodeHostname={self.host} NodeAddr=127.0.0.1{number} Port={self.ports[3 + number]}"
            for number, name in enumerate(self.nodes, start=1)
        ]
        everyone = ",".join(self.nodes)
        first_job_id = int(time.time()) % 900_000 + 1000  # ids of an earlier cluster never come again
        text = SLURM_CONF.format(root=self.root, host=self.host, address=address, ports=self.ports, first_job_id=first_job_id, everyone=everyone)
        (self.root / "slurm.conf").write_text(text + "\n".join(lines) + PARTITIONS.format(everyone=everyone))
        (self.root / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(root=self.root, ports=self.ports))
        (self.root / "slurmdbd.conf").chmod(0o600)
        for number in range(GPUS_PER_NODE):  # a GPU without a character device would be dropped: these are copies of /dev/null
            os.mknod(self.root / "dev" / f"nvidia{number}", 0o666 | 0o020000, os.makedev(1, 3))
        devices = f"File={self.root}/dev/nvidia[0-{GPUS_PER_NODE - 1}]"
        (self.root / "gres.conf").write_text(f"AutoDetect=off\nNodeName={everyone} Name=gpu {devices}\n")
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # else slurmd looks for one, and does not start where there is none

    def _learn_names(self) -> None:
        if not self.isolated:
            _change_hosts(lambda text: text + "".join(f"127.0.0.1{number} {name}\n" for number, name in enumerate(self.nodes, start=1)))
            return
        control = f"{self.tag}ctl"
        hosts = f"127.0.0.1 localhost {self.host}\n{CONTROLLER_IP} ctl\n" + "".join(f"10.77.0.{n} {name}\n" for n, name in enumerate(self.nodes, start=1))
        self._ip("netns", "add", control)
        self._ip("-n", control, "link", "set", "lo", "up")
        self._ip("-n", control, "link", "add", "br0", "type", "bridge")
        self._ip("-n", control, "addr", "add", f"{CONTROLLER_IP}/24", "dev", "br0")
        self._ip("-n", control, "link", "set", "br0", "up")
        for number, name in enumerate(self.nodes, start=1):
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
            self._ip("-n", control, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            self._ip("-n", control, "link", "set", f"v{number}", "master", "br0", "up")
            self._ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            self._ip("-n", name, "link", "set", "eth0", "up")
        for name in (control, *self.nodes):
            (NETNS / name).mkdir(parents=True)
            (NETNS / name / "hosts").write_text(hosts)

    def _forget_names(self) -> None:
        if not self.isolated:
            own = tuple(f" {name}" for name in self.nodes)
            _change_hosts(lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(own)))
            return
        for name in (f"{self.tag}ctl", *self.nodes):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)
            shutil.rmtree(NETNS / name, ignore_errors=True)

    def _ip(self, *words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise ClusterError(f"no network namespaces here: ip {' '.join(words)}: {done.stderr.strip()}")

    def _link(self, number: int, state: str) -> None:
        self._ip("-n", f"{self.tag}ctl", "link", "set", f"v{number}", state)

    def _kill_processes_of(self, name: str) -> None:
        """Tasks carry SLURMD_NODENAME; the parent of a task is a slurmstepd."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                if f"SLURMD_NODENAME={name}".encode() not in (process / "environ").read_bytes().split(b"\0"):
                    continue
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if (Path("/proc") / str(parent) / "cmdline").read_bytes().startswith(b"slurmstepd"):
                    os.kill(parent, signal.SIGKILL)
                os.kill(int(process.name), signal.SIGKILL)


def _change_hosts(change: Callable[[str], str]) -> None:
    """Written in place, since in a container it may be a mount that cannot be renamed over; one at a time."""
    with HOSTS.open("r+") as hosts:
        fcntl.flock(hosts, fcntl.LOCK_EX)
        text = change(hosts.read())
        hosts.seek(0)
        hosts.write(text)
        hosts.truncate()


def _free_ports(number: int) -> list[int]:
    """Ports nobody listens on; all held at once, so that they differ."""
    listeners = [socket.create_server(("", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _until(is_so: Callable[[], bool], *, timeout_s: float) -> bool:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def _only_child(pid: int) -> int:
    """The process that an `ip netns exec unshare --fork` waits for."""
    for _ in range(100):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise ClusterError(f"process {pid} started nothing")


def _die_with_parent() -> None:
    """A cluster whose tests were killed ends too."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
