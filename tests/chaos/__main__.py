"""`python -m tests.chaos --faults 500 --seed 0`: strike the scenarios at random, write what became of them, and fail if one must not be."""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.scenarios import SCENARIOS, Scenario, make_inputs
from tests.chaos.shim import build_shim
from tests.chaos.strike import Outcome, measure, strike
from tests.chaos.table import markdown, with_table
from tests.chaos.warm_server import Warm


def main() -> int:
    """The command line. Returns 1 if an outcome is a defect."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=500, help="how many strikes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="without the scenarios of the large run")
    parser.add_argument("--scenario", action="append", help="only these")
    parser.add_argument("--fault", action="append", help="only these")
    parser.add_argument("--work", type=Path, help="a new folder to work in, kept; otherwise a temporary one")
    parser.add_argument("--outcomes", type=Path, help="append every outcome to this file, a JSON object a line")
    parser.add_argument("--page", type=Path, help="put the table into this page, between its marks")
    given = parser.parse_args()
    scenarios = [one for one in SCENARIOS if (not given.scenario or one.name in given.scenario) and not (given.small and one.large)]
    faults = [one for one in FAULTS if not given.fault or one.name in given.fault]
    with _work_folder(given.work) as work:
        outcomes = run_strikes(scenarios, faults, num_strikes=given.faults, seed=given.seed, work=work, kept=given.outcomes)
    if given.page:
        given.page.write_text(with_table(given.page.read_text(), markdown(outcomes, seed=given.seed)))
    print(markdown(outcomes, seed=given.seed))
    return int(any(one.is_defect for one in outcomes))


@contextmanager
def _work_folder(given: Path | None) -> Iterator[Path]:
    if given:
        given.mkdir(parents=True)
        yield given
    else:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            yield Path(folder)


def run_strikes(scenarios: Sequence[Scenario], faults: Sequence[Fault], *, num_strikes: int, seed: int, work: Path, kept: Path | None = None) -> list[Outcome]:
    """So many strikes, all drawn from `seed`; each is shown as it ends."""
    generator, outcomes = random.Random(seed), []
    with Warm(work, shim=build_shim(work)) as warm:
        inputs = make_inputs(work / "inputs", warm=warm)
        references = {one.name: measure(one, inputs=inputs, folder=work / "alone" / one.name, warm=warm) for one in scenarios}
        for reference in references.values():
            print(f"{reference.scenario.name}: {reference.undisturbed.num_changes} changes of files, {reference.undisturbed.seconds:.1f} s alone", flush=True)
        began = time.monotonic()
        for number in range(num_strikes):
            scenario = generator.choice(scenarios)
            fitting = [fault for fault in faults if fault.fits(scenario)]
            (fault,) = generator.choices(fitting, [fault.weight for fault in fitting])
            outcome = strike(
                references[scenario.name],
                fault,
                inputs=inputs,
                folder=work / "strikes" / f"{number:05d}",
                warm=warm,
                generator=random.Random(f"{seed} {number}"),
            )
            outcomes.append(outcome)
            print(f"{number + 1}/{num_strikes} {time.monotonic() - began:.0f} s  {scenario.name} | {outcome.what} | {outcome.outcome}", flush=True)
            if outcome.is_defect:
                print(outcome.detail, file=sys.stderr, flush=True)
            if kept:
                with kept.open("a") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
