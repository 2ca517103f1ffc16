"""mcdist cluster: the objects that a run finds in its training photos, sorted into clusters that a person can name."""

from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides, RunFolder
from mcdist.run_dir import RunDir


def cluster_command(
    run: RunFolder,
    overrides: Overrides = None,
    clusters: Annotated[
        int, typer.Option(metavar="N", help="Number of clusters; 0: three for each group that stands out, at least 10.", show_default=False)
    ] = 0,
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    seed: Annotated[int, typer.Option(help="Of K-means.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the catalogue that is there; its names are kept beside it.")] = False,
) -> None:
    """Write RUN/catalogue: every object of the training photos with its vector, cluster and confidence, for search, naming and segmenting.

    Objects are the connected components of the predicted masks; evaluate.objects=photo makes one object a photo.

    Example: mcdist cluster runs/demo --clusters 30
    """
    from mcdist.workflows.cataloguing import cluster_run

    run_dir = RunDir(run)
    made = cluster_run(
        run_dir, overrides=overrides or [], which=checkpoint, num_clusters=clusters, seed=seed, overwrite=overwrite, say=lambda text: typer.echo(text, err=True)
    )
    if made is not None:
        sizes, facts = made.cluster_sizes, made.facts
        stood_out = f"; {facts.standing_out} groups stand out" if facts.standing_out else ""
        agreement = "" if facts.agreement is None else f"; clustered in two halves, {100 * facts.agreement:.0f} % of the objects agree"
        typer.echo(
            f"{run_dir.catalogue}: {len(made.objects):,} objects of {len(made.photos):,} photos in {made.clusters.num_clusters} clusters of "
            f"{sizes.min():,} to {sizes.max():,}{stood_out}{agreement}"
        )
