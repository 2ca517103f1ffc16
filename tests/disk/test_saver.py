"""A checkpoint is the state of its step, whatever training does meanwhile; one is in flight at most; and a kill never takes the one before."""

import multiprocessing
import random
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcdist.disk.checkpoint import load_newest, save_checkpoint
from mcdist.disk.saver import Saver
from mcdist.errors import MachineError
from mcdist.run_dir import list_checkpoints, name_of

DEADLINE_S = 120


def test_what_is_written_is_the_state_at_the_step_though_training_goes_on(device: torch.device) -> None:
    state, go_on, written = {"weight": torch.zeros(1000, device=device)}, threading.Event(), []

    def write(tensors: Mapping[str, Tensor]) -> None:
        assert go_on.wait(DEADLINE_S)
        written.append(tensors["weight"].clone())

    saver = Saver(asynchronous=True)
    saver.save(state, write=write)
    state["weight"].add_(1)
    assert not written, "training was not held up"
    go_on.set()
    saver.wait()
    saver.save(state, write=write)
    state["weight"].add_(1)
    saver.wait()
    assert [sorted(set(tensor.tolist())) for tensor in written] == [[0.0], [1.0]]


def test_a_second_save_waits_for_the_first() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def write(tensors: Mapping[str, Tensor]) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.05)
        with lock:
            running[0] -= 1

    saver = Saver(asynchronous=True)
    for _ in range(4):
        saver.save({"a": torch.ones(2)}, write=write)
    saver.wait()
    assert most == [1]


def test_tensors_that_change_their_shape_or_leave_are_taken_as_they_are() -> None:
    seen: list[dict[str, list[int]]] = []
    saver = Saver(asynchronous=True)
    for tensors in ({"a": torch.ones(2)}, {"a": torch.ones(2, 3), "b": torch.ones(())}, {"b": torch.ones((), dtype=torch.int64)}):
        saver.save(tensors, write=lambda given: seen.append({name: [*tensor.shape] for name, tensor in given.items()}))
        saver.wait()
    assert seen == [{"a": [2]}, {"a": [2, 3], "b": []}, {"b": []}]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_error_of_the_writer_is_known_raised_at_the_end_and_ends_the_writing(asynchronous: bool) -> None:
    calls = []

    def write(tensors: Mapping[str, Tensor]) -> None:
        calls.append(1)
        raise MachineError("no space")

    saver = Saver(asynchronous=asynchronous)
    saver.save({"a": torch.ones(2)}, write=write)
    saver._join()
    assert saver.has_failed
    saver.save({"a": torch.ones(2)}, write=write)
    with pytest.raises(MachineError, match="no space"):
        saver.wait()
    assert len(calls) == 1


def _save_for_ever(folder: Path, told: "multiprocessing.connection.Connection") -> None:
    saver, state = Saver(asynchronous=True), {"a": torch.zeros(500_000), "b": torch.zeros(500_000)}

    def save(step: int) -> None:
        for tensor in state.values():
            tensor.fill_(step)
        saver.save(state, write=lambda tensors: save_checkpoint(folder / name_of(step), tensors=tensors, numbers={"step": step}))

    for step in range(1, 100_000):
        save(step)
        told.send(step)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_moment_leaves_the_newest_checkpoint_whole(tmp_path: Path, seed: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "mcdist.run"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_save_for_ever, args=(tmp_path, theirs))
    process.start()
    try:
        chance = random.Random(seed)
        for _ in range(chance.randrange(3, 9)):
            assert ours.poll(DEADLINE_S), process.exitcode
            ours.recv()
        process.join(timeout=chance.uniform(0, 0.05))
    finally:
        process.kill()
        process.join()
    warnings: list[str] = []
    newest = load_newest(tmp_path, warn=warnings.append)
    assert newest is not None
    assert not warnings
    assert newest.path == list_checkpoints(tmp_path)[-1]
    assert all(set(tensor.tolist()) == {float(newest.numbers["step"])} for tensor in newest.tensors.values())
