"""Every benchmark has --quick, which needs no other argument, and prints its rows as they come."""

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pytest
import torch
import typer

from benchmarks.harness import command, inputs
from benchmarks.harness.measurement import measurement, publish

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_MEASUREMENT = {
    "harness/plot.py": "draws rows",
    "harness/table.py": "prints rows",
    "naming/figure.py": "draws rows",
    "scaling/page.py": "puts rows into a page",
    "study/table.py": "prints evaluations",
    "loader/trial.py": "a process of pipeline.py",
    "peers/step_trial.py": "a process of page.py",
    "scaling/trial.py": "a process of scaling.py",
    "step/allocator_trial.py": "a process of allocator.py and polite.py",
}
QUICK_S, FIRST_ROW_S = 60.0, 20.0


def commands() -> dict[str, ast.Call]:
    """The call of each file that is a command line, by its path in benchmarks/."""
    found = {}
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        body = ast.parse(path.read_text()).body
        if body and isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == "__name__ == '__main__'":
            statement = body[-1].body[0]
            assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call), path
            found[path.relative_to(ROOT / "benchmarks").as_posix()] = statement.value
    return found


MEASURING = sorted(set(commands()) - set(WITHOUT_MEASUREMENT))


def test_every_benchmark_has_the_switch_and_nothing_else_does() -> None:
    found = commands()
    assert set(found) > set(WITHOUT_MEASUREMENT)
    with_switch = {name for name, call in found.items() if ast.unparse(call.func) == "run" and [keyword.arg for keyword in call.keywords] == ["quick"]}
    assert with_switch == set(MEASURING)


def counted(
    shape: Annotated[str, typer.Argument()],
    times: Annotated[int, typer.Option()] = 100,
    json_path: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """A benchmark."""
    rows = [
        measurement([float(number)], benchmark="counting", provider="this", mode="once", shape=shape, metric="number", unit="", device=torch.device("cpu"))
        for number in range(times)
    ]
    publish(rows, json_path=json_path)


def run(monkeypatch: pytest.MonkeyPatch, quick: command.QuickArguments | None, *typed: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["counted.py", *typed])
    with pytest.raises(SystemExit) as leaving:
        command.run(counted, quick=quick)
    return leaving.value.code


def test_quick_stands_for_arguments_and_what_is_typed_comes_after_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.json"
    assert run(monkeypatch, ("small", "--times", "3"), "--quick", "--times", "2", "--json", str(path)) == 0
    rows = json.loads(path.read_text())
    assert [(row["shape"], row["median"]) for row in rows] == [("small", 0.0), ("small", 1.0)]
    printed = capsys.readouterr()
    first, *others = printed.err.splitlines()
    assert "cores, load " in first
    assert [line.split(" s  ")[1] for line in others] == ["counting: this, once, number 0", "counting: this, once, number 1"]
    assert f"{rows[0]['instruction_set']}; {rows[0]['allocator']}; load " in printed.out


def test_inputs_are_made_for_quick_alone_and_removed_after_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[Path] = []

    def quick(folder: Path) -> Sequence[str]:
        (folder / "input").write_text("")
        made.append(folder)
        return ["small", "--times", "1"]

    assert run(monkeypatch, quick, "large", "--times", "1") == 0
    assert not made
    assert run(monkeypatch, quick, "--quick") == 0
    assert made and not made[0].exists()
    assert run(monkeypatch, quick, "--quick", "--help") == 0
    assert "--quick: run on little" in " ".join(capsys.readouterr().out.split())
    assert len(made) == 1


def test_photos_and_masks_of_a_quick_run_have_the_same_names(tmp_path: Path) -> None:
    photos, masks = (Path(folder) for folder in inputs.photos_and_masks(tmp_path, num_photos=2, size_px=64))
    assert [path.stem for path in sorted(photos.iterdir())] == [path.stem for path in sorted(masks.iterdir())] == ["train-000000", "train-000001"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURING)
def test_quick_ends_soon_and_shows_its_first_row_early(name: str) -> None:
    """The limits are those of two quiet cores; a busy machine gets as much more time as its load says."""
    module = f"benchmarks.{name.removesuffix('.py').replace('/', '.')}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MCDIST_ALLOCATOR": "auto"}
    environment.pop("OMP_NUM_THREADS", None)
    began_s, first_s = time.monotonic(), None
    patience = max(1.0, os.getloadavg()[0])
    with subprocess.Popen(
        [sys.executable, "-m", module, "--quick"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if len(lines) == 2 and first_s is None:  # after the machine
                first_s = time.monotonic() - began_s
    text, taken_s = "".join(lines), time.monotonic() - began_s
    if process.returncode and "is not installed" in text:
        pytest.skip(text.strip().splitlines()[-1])
    assert process.returncode == 0, text[-2000:]
    assert first_s is not None and first_s <= patience * FIRST_ROW_S
    assert taken_s <= patience * QUICK_S
