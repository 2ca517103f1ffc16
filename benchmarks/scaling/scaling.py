"""How does training scale over the ranks of this machine, what do they exchange, and does the model predict it?

    python -m benchmarks.scaling.scaling                       # 1, 2, 4 processes; some minutes; writes benchmarks/scaling/results/scaling.json
    python -m benchmarks.scaling.page                    # puts it into docs/scale.md

Weak: so many photos a rank. Strong: so many over all ranks. Each rank is bound to one core; with more ranks than cores they share, which is
said. In every round each rank takes a step alone (yet beside the others), one without exchanging gradients, a whole one, and one bare
all-reduce of the gradients (benchmarks/scaling/trial.py), so that what else the machine does falls on all of them. A step's time is that of its slowest rank.

    outside    (together - alone) / alone: waiting, other collectives, bookkeeping; also in CPU time, which does not count waiting
    overlap    1 - (whole - together) / exchange: the part of the all-reduce that hides behind the backward pass
    predicted  alone + alpha-beta network (fitted to bare collectives of the same start), with the overlap of the first weak case for all others

The prediction is made of computation on the same cores with as many processes running, and of the network; no whole step of the predicted case enters.
"""

import json as json_format
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import measurement
from benchmarks.harness.ranks import on_ranks, usable_cores
from benchmarks.scaling.model import Work, step_of
from benchmarks.scaling.network import Level, fit, ring_all_gather_s, ring_all_reduce_s
from benchmarks.scaling.trial import NETWORK_BYTES, config_of
from mcdist.run_dir import write_atomically

TRIAL = "benchmarks.scaling.trial"
RESULT = Path(__file__).parent / "results" / "scaling.json"


def trial(*, num_ranks: int, local_batch: int, options: tuple[str, ...]) -> dict[str, Any]:
    """One start of `num_ranks`: seconds of each round's slowest rank by mode, the fitted network, and what was exchanged."""
    said = on_ranks(TRIAL, "--local-batch", str(local_batch), *options, num_ranks=num_ranks, timeout_s=400)
    slowest = {mode: [max(times) for times in zip(*(rank["steps"][mode] for rank in said), strict=True)] for mode in said[0]["steps"]}
    found = {"num_ranks": num_ranks, "local_batch": local_batch, "steps_s": slowest, "gradients_bytes": said[0]["gradients_bytes"]}
    found["cpu_s"] = {mode: [mean(times) for times in zip(*(rank["cpu"][mode] for rank in said), strict=True)] for mode in slowest}
    found |= {"first_step_s": max(rank["first_step_s"] for rank in said), "checkpoint": said[0]["checkpoint"], "traffic": said[0].get("traffic")}
    return found | {"network_s": network_of(said) if num_ranks > 1 else None}


def network_of(said: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Median seconds a size of each bare collective, of the slowest rank."""
    return {
        name: [median(max(times) for times in zip(*(rank["network"][name][index] for rank in said), strict=True)) for index in range(len(NETWORK_BYTES))]
        for name in said[0]["network"]
    }


def level_of(network_s: dict[str, list[float]], *, name: str, num_ranks: int) -> Level:
    """alpha and beta of one kind of collective."""
    hops = (num_ranks - 1) * (2 if name == "all_reduce" else 1)
    return fit(NETWORK_BYTES, network_s[name], num_messages=hops, share=hops / num_ranks)


def summarise(case: dict[str, Any]) -> dict[str, Any]:
    """Medians and what follows from them."""
    medians = {mode: median(times) for mode, times in case["steps_s"].items()}
    found = {"alone_s": medians["alone"], "whole_s": medians["whole"], "images_per_s": case["num_ranks"] * case["local_batch"] / medians["whole"]}
    if case["num_ranks"] > 1:
        rounds = list(zip(*(case["steps_s"][mode] for mode in ("alone", "together", "whole", "exchange")), strict=True))
        outside = median((together - alone) / alone for alone, together, _, _ in rounds)
        exposed = median(whole - together for _, together, whole, _ in rounds)
        found |= {"together_s": medians["together"], "exchange_s": medians["exchange"], "outside_percent": 100 * outside}
        found["outside_cpu_percent"] = 100 * (median(case["cpu_s"]["together"]) / median(case["cpu_s"]["alone"]) - 1)
        found |= {"exposed_s": exposed, "overlap": min(1.0, max(0.0, 1 - exposed / medians["exchange"]))}
    return found


def predicted_s(case: dict[str, Any], *, alone_s: float, overlap: float, dim: int, max_objects: int) -> float:
    """The whole step, from computation and network."""
    num_ranks = case["num_ranks"]
    work = Work(alone_s, alone_s, case["gradients_bytes"], case["local_batch"] * max_objects, dim)
    reduce, gather = (level_of(case["network_s"], name=name, num_ranks=num_ranks) for name in ("all_reduce", "all_gather"))
    step = step_of(
        work,
        num_ranks=num_ranks,
        loss_s=0.0,
        overlap=overlap,
        all_reduce_s=lambda size: ring_all_reduce_s(size, num_ranks=num_ranks, level=reduce),
        all_gather_s=lambda size: ring_all_gather_s(size, num_ranks=num_ranks, level=gather),
    )
    return step.total_s


def measure(*, ranks: list[int], local_batch: int, global_batch: int, options: tuple[str, ...], size_px: int, num_stages: int) -> dict[str, Any]:
    """All cases: weak and strong over `ranks`."""
    config = config_of(global_batch=local_batch, size_px=size_px, num_stages=num_stages)
    cases = []
    for num_ranks in ranks:
        locals_of = {"weak": local_batch} if num_ranks == 1 else {"weak": local_batch, "strong": global_batch // num_ranks}
        for scaling, batch in locals_of.items():
            began_s = time.monotonic()
            case = trial(num_ranks=num_ranks, local_batch=batch, options=options)
            cases.append(case | {"scaling": scaling} | summarise(case))
            print(f"{num_ranks} ranks, {scaling}, {batch} photos a rank: {cases[-1]['whole_s'] * 1000:.0f} ms a step ({time.monotonic() - began_s:.0f} s)")
    calibrated = next((case["overlap"] for case in cases if case["num_ranks"] > 1), 0.0)
    for case in cases:
        if case["num_ranks"] > 1:
            sizes = {"dim": config.model.embedding_dim, "max_objects": config.views.max_objects}
            case["predicted_s"] = predicted_s(case, alone_s=case["alone_s"], overlap=calibrated, **sizes)
            case["levels"] = {name: asdict(level_of(case["network_s"], name=name, num_ranks=case["num_ranks"])) for name in case["network_s"]}
    return {
        "model": f"ResNet-18, {num_stages} stages, {size_px} px, one thread a rank, gloo",
        "num_cores": len(usable_cores()),
        "overlap": calibrated,
        "network_bytes": NETWORK_BYTES,
        "cases": cases,
    }


def circumstances() -> dict[str, Any]:
    """Machine, versions, commit and date, as all benchmarks keep them."""
    row = asdict(measurement([0.0], benchmark="scaling", provider="", mode="", shape="", metric="", unit="", device=torch.device("cpu")))
    return {name: row[name] for name in ("machine", "versions", "commit", "date")}


def main(
    ranks: Annotated[list[int] | None, typer.Option(min=1, help="Numbers of processes; 1, 2, 4 where none is given.")] = None,
    local_batch: Annotated[int, typer.Option(min=1, help="Photos a rank, weak scaling.")] = 8,
    global_batch: Annotated[int, typer.Option(min=1, help="Photos over all ranks, strong scaling.")] = 8,
    size_px: Annotated[int, typer.Option(min=8, help="Size of the views.")] = 96,
    num_stages: Annotated[int, typer.Option(min=3, max=5, help="Stages of the ResNet-18.")] = 4,
    num_rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each kind.")] = 12,
    json: Annotated[Path, typer.Option(help="Write what was found to this file.")] = RESULT,
) -> None:
    """Weak and strong scaling on this machine, measured and predicted."""
    torch.set_num_threads(1)
    options = ("--size-px", str(size_px), "--num-stages", str(num_stages), "--num-rounds", str(num_rounds))
    found = measure(ranks=ranks or [1, 2, 4], local_batch=local_batch, global_batch=global_batch, options=options, size_px=size_px, num_stages=num_stages)
    for case in found["cases"]:
        if "predicted_s" in case:
            print(
                f"{case['num_ranks']} ranks, {case['scaling']}: measured {1000 * case['whole_s']:.0f} ms, predicted {1000 * case['predicted_s']:.0f} ms; "
                f"outside {case['outside_percent']:.1f} % ({case['outside_cpu_percent']:.1f} % of the CPU's time), overlap {100 * case['overlap']:.0f} %"
            )
    write_atomically(json, json_format.dumps(circumstances() | found, indent=1).encode() + b"\n")


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    small = ["--size-px", "48", "--num-stages", "3", "--local-batch", "2", "--global-batch", "2", "--num-rounds", "2"]
    return ["--ranks", "1", "--ranks", "2", *small, "--json", str(folder / "scaling.json")]


if __name__ == "__main__":
    run(main, quick=quick)
