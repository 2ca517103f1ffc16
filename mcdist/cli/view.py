"""mcdist view: look at a run's clusters and name them, in a browser."""

from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides, RunFolder
from mcdist.run_dir import RunDir

DEFAULT_PORT = 8420


def view_command(
    run: RunFolder,
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On this machine's loopback; 0: any that is free.")] = DEFAULT_PORT,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser, where there is a display.")] = True,
) -> None:
    """Look at the clusters of a run that mcdist cluster made, and name, merge, split and reject, in a browser.

    Names are saved in RUN/names.json. The page answers at 127.0.0.1 only, and to nobody without the address that is printed.

    Example: mcdist view runs/demo
    """
    from mcdist.workflows.viewing import view_run

    view_run(RunDir(run), overrides=overrides or [], port=port, open_browser=browser, say=lambda text: typer.echo(text, err=True))
