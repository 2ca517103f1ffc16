"""The doctor: one finding for each part, whatever the machine has, and never a failure."""

import subprocess
import sys

import pytest
from rich.console import Console

from mcdist.machine import doctor
from mcdist.machine.allocator import Allocator
from mcdist.machine.doctor import Finding, examine
from mcdist.report.doctor_table import findings_table


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return examine()


def test_every_part_is_named_once(findings):
    names = [finding.name for finding in findings]
    assert len(set(names)) == len(names)
    assert set(names) >= {"Python", "allocator", "torch", "CUDA", "Triton", "GPU kernels", "FAISS CPU", "FAISS GPU", "FFCV", "DeepSpeed", "SLURM", "MLflow"}


def test_what_is_missing_or_broken_comes_with_a_remedy(findings):
    assert [finding.name for finding in findings if finding.status != "ok" and not finding.remedy] == []


def test_the_installed_torch_is_found(findings):
    torch = next(finding for finding in findings if finding.name == "torch")
    assert (torch.status, torch.remedy) == ("ok", "")


def test_whose_malloc_this_is_and_how_it_is_set_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "find_allocator", lambda environment: Allocator("libjemalloc.so.2", False, "not glibc's malloc, so it is left as it is"))
    found = doctor._allocator()
    assert (found.name, found.status, found.detail) == ("allocator", "ok", "libjemalloc.so.2: not glibc's malloc, so it is left as it is")


def test_the_operators_of_the_cpu_are_compiled_or_say_what_is_missing(findings, monkeypatch, tmp_path):
    assert next(finding for finding in findings if finding.name == "C++ operators").status == "ok"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MCDIST_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    without = doctor._operators()
    assert (without.status, without.remedy) == ("missing", "a C++ compiler: apt install g++")
    assert "the loss runs in plain torch" in without.detail


def test_the_doctor_imports_no_package_into_this_process():
    code = "import sys, mcdist.machine.doctor; sys.exit(any(name in sys.modules for name in ('torch', 'faiss', 'ffcv', 'mlflow', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_probe_that_raises_is_a_finding():
    def _thermometer() -> Finding:
        raise OSError("no such sensor")

    found = doctor._examine("thermometer", _thermometer)
    assert (found.name, found.status) == ("thermometer", "broken")
    assert "no such sensor" in found.detail


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("raise ImportError('libopencv_core.so.406 is not there')", "ImportError: libopencv_core.so.406 is not there"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "stopped by signal 9"),
    ],
)
def test_a_package_whose_import_fails_is_broken_and_says_why(code, detail):
    found = doctor._package("pytest", distribution="pytest", code=code, remedy="pip install pytest")
    assert found.status == "broken"
    assert detail in found.detail
    assert found.remedy == "pip install pytest"


def test_a_package_whose_import_hangs_is_cut_off(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT_S", 0.2)
    assert doctor._run_python("import time; time.sleep(30)") == Finding("", "broken", "no answer within 0.2 s")


def test_a_package_that_is_not_installed_is_missing():
    found = doctor._package("nothing", distribution="mcdist-no-such-package", code="", remedy="pip install it")
    assert found == Finding("nothing", "missing", "not installed", "pip install it")


def test_a_cluster_command_that_does_not_answer_is_broken(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "_first_line", lambda command: None)
    assert doctor._slurm().status == "broken"
    monkeypatch.setattr(doctor, "_first_line", lambda command: "slurm 24.05.1")
    assert doctor._slurm() == Finding("SLURM", "ok", "slurm 24.05.1")


def test_a_command_that_is_absent_fails_or_is_silent_says_nothing():
    assert doctor._first_line(["mcdist-no-such-command"]) is None
    assert doctor._first_line(["false"]) is None
    assert doctor._first_line(["true"]) is None
    assert doctor._first_line(["echo", "word"]) == "word"


def test_both_faiss_packages_at_once_are_broken(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda distribution: "1.15.1")
    found = doctor._faiss_gpu()
    assert found.status == "broken"
    assert "pip uninstall faiss-cpu faiss-gpu" in found.remedy


def test_a_driver_that_torch_does_not_see_is_broken_and_no_driver_is_missing(monkeypatch):
    no_device = Finding("", "ok", "")
    monkeypatch.setattr(doctor, "_first_line", lambda command: None)
    assert doctor._gpu(no_device).status == "missing"
    monkeypatch.setattr(doctor, "_first_line", lambda command: "Some GPU, 550.1")
    assert doctor._gpu(no_device).status == "broken"
    assert doctor._gpu(Finding("", "ok", "CUDA 13.0: Some GPU 80 GiB")).status == "ok"


def test_a_torch_that_does_not_import_is_broken_and_nothing_is_known_of_the_gpu():
    said = Finding("", "broken", "OSError: libcudnn.so.9 is not there")
    assert "libcudnn.so.9 is not there" in doctor._torch(said).detail
    assert doctor._torch(said).status == doctor._gpu(said).status == "broken"


def test_a_nearly_full_disk_is_said(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**20})())
    assert doctor._disk().status == "broken"


def test_the_table_shows_every_finding_and_keeps_the_brackets_of_a_remedy():
    console = Console(record=True, width=200)
    console.print(findings_table([Finding("MLflow", "missing", "not installed", "pip install 'mcdist[mlflow]'"), Finding("torch", "ok", "2.14.1")]))
    shown = console.export_text()
    assert "pip install 'mcdist[mlflow]'" in shown
    assert "2.14.1" in shown


@pytest.mark.parametrize("said", [Finding("", "ok", ""), Finding("", "broken", "no torch")])
def test_without_a_gpu_there_is_nothing_to_try_kernels_on(said):
    found = doctor._kernels(said)
    assert (found.status, found.detail) == ("missing", "there is no CUDA device to try them on")


def test_kernels_that_failed_their_trial_are_broken_with_the_numbers(monkeypatch):
    gpu = Finding("", "ok", "CUDA 13.0: Some GPU 80 GiB")
    monkeypatch.setattr(doctor, "_run_python", lambda code, timeout_s: Finding("", "ok", ""))
    assert doctor._kernels(gpu) == Finding("GPU kernels", "ok", "they agree with plain torch on every device here")
    said = "cuda:0, Some GPU: the fused operators are not used, compact ones are: mask_pool in float32: gradient differs by 0.5, allowed is 0.1"
    monkeypatch.setattr(doctor, "_run_python", lambda code, timeout_s: Finding("", "ok", said))
    found = doctor._kernels(gpu)
    assert (found.status, found.detail) == ("broken", said)
    assert "verdict-*.json" in found.remedy
    monkeypatch.setattr(doctor, "_version", lambda distribution: None)
    assert doctor._kernels(gpu) == Finding("GPU kernels", "missing", "Triton is not installed", "pip install triton")


def test_the_code_that_asks_for_the_kernels_runs_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert doctor._run_python(doctor.KERNELS_CODE) == Finding("", "ok", "")
