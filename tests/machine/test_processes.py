"""Pools of workers: results come with what was asked for, and a worker that dies is one sentence."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from mcdist.errors import MachineError
from mcdist.machine.processes import results_of


def pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def test_results_come_with_what_was_asked_for():
    with pool() as workers:
        assert dict(results_of(workers, {workers.submit(abs, -number): number for number in range(4)}, finished="numbers")) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_worker_that_dies_is_told_with_what_is_kept():
    with pool() as workers, pytest.raises(MachineError, match=r"fewer --workers: finished numbers are kept"):
        list(results_of(workers, {workers.submit(os._exit, 1): 0}, finished="numbers"))
