"""Does training with the fused loss go where training with the reference goes?

    python -m benchmarks.loss.envelope configs/demo_contrast.yaml --json envelope.json --figure envelope.png

Trains the first steps of CONFIG several times on the same batches: with the reference loss from initial weights that differ by one part in a
million, and with another implementation from the weights themselves. Rounding grows in training, so the curves drift apart; the runs with the
reference show by how much they may. Curves are means over ten steps. The envelope is the mean of the reference runs plus and minus twice their
largest distance from it so far (at least 1e-4 of the mean). Is that envelope a fair bound? Every reference run is also held against the envelope
of the other ones: where these leave it too, no implementation can be asked to stay inside.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer
from jaxtyping import Float
from numpy import ndarray

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist import build
from mcdist.choices import Implementation
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.ranks.join import leave_world
from mcdist.train.loop import train
from mcdist.train.state import TrainState

NOISE = 1e-6
WINDOW_STEPS = 10
MARGIN = 2.0
RELATIVE_FLOOR = 1e-4
WIDE_SHARE = 0.2
"""Where no curve fills this share of the envelope, the figure shows the curves and not the whole envelope."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Smoothed curves `[runs, steps]` of the reference and `[steps]` of the other, and how wide the envelope is at each step."""

    reference: Float[ndarray, "R S"]
    other: Float[ndarray, " S"]
    half_width: Float[ndarray, " S"]

    @property
    def distance(self) -> Float[ndarray, " S"]:
        """|other - mean of the reference| over the half width: at most 1 is inside."""
        return numpy.abs(self.other - self.reference.mean(0)) / self.half_width


def envelope_of(reference: Float[ndarray, "R S"], other: Float[ndarray, " S"]) -> Envelope:
    """Smooth the curves and lay the envelope around the reference."""
    smooth = partial(numpy.convolve, v=numpy.full(WINDOW_STEPS, 1 / WINDOW_STEPS), mode="valid")
    curves = numpy.stack([smooth(curve) for curve in reference])
    mean = curves.mean(0)
    apart = numpy.maximum.accumulate(numpy.abs(curves - mean).max(0))
    return Envelope(curves, smooth(other), numpy.maximum(MARGIN * apart, RELATIVE_FLOOR * mean))


def left_out(reference: Float[ndarray, "R S"]) -> list[float]:
    """Of each reference run the largest share of the envelope of the others: above 1 it leaves it."""
    return [float(envelope_of(numpy.delete(reference, index, axis=0), curve).distance.max()) for index, curve in enumerate(reference)]


def loss_curve(config: Config, *, implementation: Implementation, noise_seed: int | None, num_steps: int) -> Float[ndarray, " S"]:
    """The contrastive loss after each of the first steps of a new run; nothing is written."""
    config = replace(config, ops=replace(config.ops, implementation=implementation), report=replace(config.report, log_every_steps=1))
    world = build.build_world(config)
    try:
        build.prepare_process(config, world=world)
        reader = build.open_reader(config.data.train, key="data.train", data=config.data)
        state = build.build_state(config, world=world)
        if noise_seed is not None:
            perturb(state, seed=noise_seed)
        loader = build.build_batches(config, reader, world=world, consumed=0, num_steps=num_steps)
        settings = build.loop_settings(config, num_samples=len(reader))
        progress = train(
            state, iter(loader), settings=settings, step=build.step_settings(config), should_stop=lambda: False, on_bad_samples=lambda step, lines: None
        )
        records = [record for now in islice(progress, num_steps) for record in now.records if record.name == "loss/contrast"]
        return numpy.array([record.value for record in records])
    finally:
        leave_world()


@torch.no_grad()
def perturb(state: TrainState, *, seed: int) -> None:
    """Move every weight of both encoders by about NOISE of itself, alike in both."""
    generator = torch.Generator().manual_seed(seed)
    for query, key in zip(state.query.parameters(), state.key.parameters(), strict=True):
        query.mul_(1 + NOISE * torch.randn(query.shape, generator=generator).to(query.device))
        key.copy_(query)


def draw(envelope: Envelope, *, path: Path, title: str, name: str) -> None:
    """The curves, and where they run in the envelope."""
    import matplotlib.pyplot as plt

    steps = numpy.arange(WINDOW_STEPS, WINDOW_STEPS + len(envelope.other))
    mean = envelope.reference.mean(0)
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, constrained_layout=True)
    for axes, offset in ((above, 0 * mean), (below, mean)):
        axes.fill_between(steps, mean - envelope.half_width - offset, mean + envelope.half_width - offset, color="#cfd8e3", label="envelope")
        for number, curve in enumerate(envelope.reference):
            axes.plot(steps, curve - offset, color="#5b7089", linewidth=0.9, label="reference, initial weights moved by 1e-6" if number == 0 else None)
        axes.plot(steps, envelope.other - offset, color="#c2410c", linewidth=1.4, label=name)
    above.set(title=title, ylabel="contrastive loss (mean of 10 steps)")
    above.legend(frameon=False)
    below.set(xlabel="step", ylabel="less the reference's mean")
    widest = max(float(numpy.abs(curves - mean).max()) for curves in (envelope.reference, envelope.other))
    if WIDE_SHARE * float(envelope.half_width.max()) > widest > 0:  # else the curves were one line in a wide band
        below.set_ylim(-2 * widest, 2 * widest)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def measure(config: Config, *, implementation: Implementation, num_references: int, num_steps: int) -> tuple[Envelope, list[float]]:
    """All the runs, one after the other: the other's place in the envelope, and that of each reference run among the others."""
    reference = [loss_curve(config, implementation="reference", noise_seed=seed, num_steps=num_steps) for seed in range(num_references)]
    other = loss_curve(config, implementation=implementation, noise_seed=None, num_steps=num_steps)
    return envelope_of(numpy.stack(reference), other), left_out(numpy.stack(reference))


def main(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo_contrast.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's.")] = None,
    implementation: Annotated[Implementation, typer.Option(help="What is compared with the reference.")] = "fused",
    steps: Annotated[int, typer.Option(min=WINDOW_STEPS, help="Steps of each run.")] = 200,
    references: Annotated[int, typer.Option(min=3, help="Runs with the reference.")] = 4,
    figure: Annotated[Path | None, typer.Option(help="Draw the curves into this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """How far training with one implementation of the loss runs from training with the reference."""
    loaded = load_config(config, overrides=overrides or [])
    envelope, among = measure(loaded, implementation=implementation, num_references=references, num_steps=steps)
    shape = f"{config.name}, first {steps} steps of {loaded.optim.global_batch} photos, {references} reference runs"
    mean = envelope.reference.mean(0)
    row = partial(measurement, benchmark="loss_envelope", mode="contrastive loss", shape=shape, unit="relative", device=torch.device("cpu"))
    rows: list[Measurement] = [
        row((numpy.abs(envelope.reference - mean) / mean).max(0).tolist(), provider="reference", metric="largest distance from their mean"),
        row((numpy.abs(envelope.other - mean) / mean).tolist(), provider=implementation, metric="distance from that mean"),
        row([float(envelope.distance.max())], provider=implementation, metric="largest share of the envelope"),
        row(among, provider="reference", metric="largest share of the envelope of the others"),
    ]
    publish(rows, json_path=json)
    if figure is not None:
        draw(envelope, path=figure, title=shape, name=implementation)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [*inputs.small_step(folder), "--steps", "12", "--references", "3"]


if __name__ == "__main__":
    run(main, quick=quick)
