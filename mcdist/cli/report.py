"""mcdist report."""

import typer

from mcdist.cli.run_arguments import RunFolder


def report_command(run: RunFolder) -> None:
    """Write RUN's report.html again from its files."""
    from mcdist.report.page.html import write_report
    from mcdist.run_dir import RunDir

    typer.echo(f"report: {write_report(RunDir(run).require())}")
