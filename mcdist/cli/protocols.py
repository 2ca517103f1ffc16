"""mcdist protocols: the ways to judge a run, and their switches."""

import typer


def protocols_command() -> None:
    """List the protocols of mcdist evaluate, finetune and davis: what each measures, its source and slips, what it needs, and its switches by default."""
    from dataclasses import asdict

    from mcdist.build import judge_settings
    from mcdist.config import Config
    from mcdist.evaluate.propagation.settings import PROPAGATIONS
    from mcdist.evaluate.protocols.protocol import switches_of
    from mcdist.evaluate.protocols.registry import MAKERS, make_protocols, notes_of, summary_of
    from mcdist.finetune.protocols import PROTOCOLS
    from mcdist.finetune.settings import TuneSettings

    for protocol in make_protocols(list(MAKERS), settings=judge_settings(Config())):
        typer.echo(f"{protocol.name}: {summary_of(protocol.name)}")
        for line in notes_of(protocol.name):
            typer.echo(f"  {line}")
        typer.echo(f"  needs: {', '.join(sorted(protocol.needs))}")
        typer.echo(f"  switches: {', '.join(f'{name}={value}' for name, value in switches_of(protocol).items())}")
    for finetuned in PROTOCOLS.values():
        typer.echo(f"{finetuned.name}: {finetuned.summary} (mcdist finetune)")
        for line in finetuned.notes:
            typer.echo(f"  {line}")
        typer.echo("  needs: train labels, truth, a network in the loop")
        typer.echo(f"  switches: {', '.join(f'{name}={value}' for name, value in asdict(finetuned.switches(TuneSettings())).items())}")
    for name, settings in PROPAGATIONS.items():
        typer.echo(f"{name}: labels of the first frame carried through videos by features (mcdist davis)")
        typer.echo("  needs: video")
        typer.echo(f"  switches: {', '.join(f'{switch}={value}' for switch, value in asdict(settings).items())}")
