"""Puts what scaling.py measured into docs/scale.md, between two marks: re-measuring and this are all it takes.

python -m benchmarks.scaling.scaling && python -m benchmarks.scaling.page
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import ROOT
from mcdist.errors import DataError
from mcdist.run_dir import write_atomically

BEGIN, END = "<!-- measured: begin (benchmarks/scaling/page.py) -->", "<!-- measured: end -->"


def measured_section(found: dict[str, Any]) -> str:
    """The tables of one run of scaling.py, in Markdown."""
    cases, checkpoint = found["cases"], found["cases"][0]["checkpoint"]
    base = next(case for case in cases if case["num_ranks"] == 1)
    lines = [
        f"{found['model']}, {cases[0]['local_batch']} photos a rank (weak); {found['machine']}; torch {found['versions']['torch']}; "
        f"commit {found['commit']}; {found['date']}. Each rank is bound to one core; {_shared(found)}.",
        "",
        "| ranks | scaling | photos a rank | alone ms | whole step ms | predicted ms | off by | photos/s | efficiency |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_step_row(case, base=base, num_cores=found["num_cores"]) for case in cases),
        "",
        "| ranks | scaling | outside | outside, CPU time | bare all-reduce ms | not hidden ms | hidden behind the backward pass |",
        "|---:|---|---:|---:|---:|---:|---:|",
        *(_exchange_row(case) for case in cases if case["num_ranks"] > 1),
        "",
        "| ranks | scaling | gradients B | prototypes B | pixel counts B | stop flag B | collectives | received B | beside the least possible |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_traffic_row(case) for case in cases if case["num_ranks"] > 1),
        "",
        f"From the start of a process to the end of its third step: {base['first_step_s']:.1f} s. A checkpoint of {checkpoint['bytes'] / 2**20:.0f} MiB: "
        f"{1000 * checkpoint['copy_s']:.0f} ms to copy in memory, {1000 * checkpoint['write_s']:.0f} ms to write.",
    ]
    return "\n".join(lines)


def _shared(found: dict[str, Any]) -> str:
    most = max(case["num_ranks"] for case in found["cases"])
    cores = found["num_cores"]
    return f"with {most} ranks on {cores} cores, {-(-most // cores)} share each" if most > cores else "no two share one"


def _step_row(case: dict[str, Any], *, base: dict[str, Any], num_cores: int) -> str:
    predicted = case.get("predicted_s")
    off = f"{100 * (predicted / case['whole_s'] - 1):+.1f} %" if predicted else ""
    ideal = base["images_per_s"] * min(case["num_ranks"], num_cores)
    return (
        f"| {case['num_ranks']} | {case['scaling']} | {case['local_batch']} | {1000 * case['alone_s']:.0f} | {1000 * case['whole_s']:.0f} | "
        f"{f'{1000 * predicted:.0f}' if predicted else ''} | {off} | {case['images_per_s']:.1f} | {100 * case['images_per_s'] / ideal:.0f} % |"
    )


def _exchange_row(case: dict[str, Any]) -> str:
    return (
        f"| {case['num_ranks']} | {case['scaling']} | {case['outside_percent']:.1f} % | {case['outside_cpu_percent']:.1f} % | "
        f"{1000 * case['exchange_s']:.1f} | {1000 * case['exposed_s']:.1f} | {100 * case['overlap']:.0f} % |"
    )


def _traffic_row(case: dict[str, Any]) -> str:
    seen = case["traffic"]
    sizes = " | ".join(f"{seen['bytes'].get(name, 0):,}" for name in ("gradients", "prototypes", "pixel counts", "stop flag"))
    wire = f"{seen['wire_bytes']:,} | {seen['wire_bytes'] / seen['needed_bytes']:.4f} x" if seen["wire_bytes"] else "not told here |"
    return f"| {case['num_ranks']} | {case['scaling']} | {sizes} | {sum(seen['calls'].values())} | {wire} |"


def with_section(page: str, section: str, *, name: str) -> str:
    """`page` with `section` between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"expected the marks {BEGIN} and {END} in {name}, found none; put them where the tables belong")
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"


def main(
    json_path: Annotated[Path, typer.Option("--json", help="What scaling.py wrote.")] = Path(__file__).parent / "results" / "scaling.json",
    page: Annotated[Path, typer.Option(help="The page with the marks.")] = ROOT / "docs" / "scale.md",
) -> None:
    """Rewrite the measured section of docs/scale.md."""
    try:
        found = json.loads(json_path.read_text())
    except OSError as error:
        raise DataError(f"expected the measurements of scaling.py at {json_path}: {error.strerror}; run: python -m benchmarks.scaling.scaling") from error
    write_atomically(page, with_section(page.read_text(), measured_section(found), name=str(page)).encode())
    print(f"{page}: measured section of {found['date']}")


if __name__ == "__main__":
    run(main)
