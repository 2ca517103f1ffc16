"""mcdist compare."""

from pathlib import Path
from typing import Annotated

import typer


def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Evaluated runs; those that differ by run.seed alone are trainings of one setting.")],
    form: Annotated[str, typer.Option("--format", help="table, markdown, latex, csv, json or html; as --out is called where it is not given.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here instead of printing: .html is a page with charts.")] = None,
) -> None:
    """Put several runs side by side: their scores with intervals, paired differences, training curves, and where their configurations differ.

    Example: mcdist compare runs/a_0 runs/a_1 runs/b_0 runs/b_1 --out comparison.html
    """
    from mcdist.report.comparison import comparison_table, comparison_text
    from mcdist.report.console import show
    from mcdist.report.page.compare import comparison_page
    from mcdist.run_dir import write_atomically
    from mcdist.workflows.comparing import compare_runs, format_for

    chosen = format_for(form, out=out)
    comparison = compare_runs(runs)
    if chosen == "table":
        show(comparison_table(comparison))
        return
    text = comparison_page(comparison) if chosen == "html" else comparison_text(comparison, form=chosen)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_atomically(out, text.encode())
    typer.echo(f"comparison: {out}")
