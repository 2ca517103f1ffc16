"""mcdist reproduce: a row of the paper, from data to verdict."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides
from mcdist.errors import ConfigError


def reproduce_command(
    row: Annotated[str, typer.Argument(metavar="ROW", help="A row of the paper (--list).", show_default=False)] = "",
    overrides: Overrides = None,
    *,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="ROOT", help="VOC 2012 with a folder of masks, or shards: ROOT/DATASET/train, val and so on.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where shards, trainings and results are.")] = Path("runs/paper"),
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="N", help="Trainings, with the seeds 0 to N - 1.")] = 1,
    small: Annotated[bool, typer.Option("--small", help="A reduced run of minutes, to see that all steps work. It is never compared with the paper.")] = False,
    plan: Annotated[bool, typer.Option("--plan", "--dry-run", help="Print the steps, the photos and the time, and stop.")] = False,
    list_rows: Annotated[bool, typer.Option("--list", help="Print the paper's rows, and stop.")] = False,
    table: Annotated[Path | None, typer.Option("--table", metavar="FILE", help="Another table of rows.", show_default="configs/paper/rows.yaml")] = None,
) -> None:
    """Train and judge a row of the paper, compare it with the paper's number, and say whether it agrees, differs, or cannot be judged.

    Stopped, it goes on when the same command is given again. KEY=VALUE that changes more than speed makes a reduced run.

    Example: mcdist reproduce kmeans-moco-unsupervised --data data/voc --seeds 3
    """
    from mcdist.reproduction.rows import read_paper_table

    rows = read_paper_table(table)
    if list_rows:
        for one in rows.rows.values():
            paper = "  not in the table" if one.paper is None else f"{one.paper:5.1f} ± {rows.tolerances[one.kind]:g}"
            typer.echo(f"{one.name:<30} {paper:<18} {one.line}" + (f"; cannot be judged: {one.unjudged}" if one.unjudged else ""))
        return
    if row:
        rows.row(row)
    if not row or data is None:
        missing = "--data ROOT, the folder with VOCdevkit or shards" if row else "a row and its data"
        raise ConfigError(f"mcdist reproduce needs {missing}: mcdist reproduce ROW --data ROOT; the rows: mcdist reproduce --list")
    from mcdist.workflows.reproduction import make_order, plan_lines, reproduce, verdict_lines

    order, rows = make_order(row, data=data, out=out, num_seeds=seeds, overrides=overrides or [], small=small, table=rows)
    if plan:
        typer.echo("\n".join(plan_lines(order, table=rows)))
        return
    found = reproduce(order, table=rows)
    if isinstance(found, int):
        raise typer.Exit(found)
    typer.echo("\n".join(verdict_lines(found, table=rows)))
    typer.echo(f"result: {order.result}")
