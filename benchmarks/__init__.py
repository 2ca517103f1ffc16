"""Benchmarks compute as a training does: how threads wait for each other is set here, before a benchmark imports torch."""

from mcdist.machine.waiting import wait_briefly

wait_briefly()
