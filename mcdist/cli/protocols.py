"""mcdist protocols: the ways to judge a run, and their switches."""

import typer


def protocols_command() -> None:
    """List the protocols of mcdist evaluate: what each one measures, its source and slips, what it needs, and its switches by default."""
    from mcdist.build import judge_settings
    from mcdist.config import Config
    from mcdist.evaluate.protocols.protocol import switches_of
    from mcdist.evaluate.protocols.registry import MAKERS, make_protocols, notes_of, summary_of

    for protocol in make_protocols(list(MAKERS), settings=judge_settings(Config())):
        typer.echo(f"{protocol.name}: {summary_of(protocol.name)}")
        for line in notes_of(protocol.name):
            typer.echo(f"  {line}")
        typer.echo(f"  needs: {', '.join(sorted(protocol.needs))}")
        typer.echo(f"  switches: {', '.join(f'{name}={value}' for name, value in switches_of(protocol).items())}")
