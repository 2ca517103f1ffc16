"""mcdist report."""

import typer

from mcdist.cli.run_arguments import RunFolder


def report_command(run: RunFolder) -> None:
    """Write RUN's report.html again from its files."""
    from mcdist.errors import DataError
    from mcdist.report.page.html import write_report
    from mcdist.run_dir import RunDir

    run_dir = RunDir(run)
    if run.is_dir() and not run_dir.config.is_file():
        raise DataError(f"expected a run at {run} (its {run_dir.config.name}), found other files; name the folder of a run, such as runs/demo")
    typer.echo(f"report: {write_report(run_dir)}")
