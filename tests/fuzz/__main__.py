"""`python -m tests.fuzz --seconds 60`: give every reader broken inputs for so long, or `--runs` of them, keep what it trips over, and fail if there is any.

With `--atheris`, and where that package is installed, libFuzzer chooses the mutations by what they reach; one target at a time.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.hunt import Hunt, hunt, hunt_with_atheris
from tests.fuzz.targets import TARGETS


def main() -> int:
    """The command line. Returns 1 if a reader did what it must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0, help="for each target")
    parser.add_argument("--runs", type=int, default=0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", help="only these")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for inputs that a reader tripped over")
    parser.add_argument("--atheris", action="store_true")
    given = parser.parse_args()
    chosen = [target for target in TARGETS if not given.target or target.name in given.target]
    memory = Path("/dev/shm")
    hunts = []
    for target in chosen:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="fuzz-") as folder:
            if given.atheris:
                hunt_with_atheris(target, folder=Path(folder), runs=given.runs)  # libFuzzer ends the process itself
            began = time.monotonic()
            found = hunt(target, folder=Path(folder), seconds=given.seconds, runs=given.runs, seed=given.seed)
            hunts.append(found)
            print(
                f"{target.name}: {found.runs:,} inputs, {found.refused:,} refused, {time.monotonic() - began:.0f} s, {len(found.findings)} findings", flush=True
            )
            _keep(found, folder=given.findings)
    print(f"{sum(found.runs for found in hunts):,} inputs")
    return int(any(found.findings for found in hunts))


def _keep(found: Hunt, *, folder: Path) -> None:
    for number, (content, trace) in enumerate(found.findings.values()):
        place = folder / found.target.replace(" ", "_").replace(",", "")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03d}.bin").write_bytes(content)
        (place / f"{number:03d}.txt").write_text(trace)
        print(trace, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
