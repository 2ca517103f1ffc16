"""A run that learnt groups is judged by its own segmentation too, and its group head may predict the masks."""

from pathlib import Path

from mcdist import run
from mcdist.run_dir import RunDir
from tests.judged_run import judged
from tests.runs.test_group_run import Configure, configure

__all__ = ["configure"]


def test_a_run_with_a_group_head_is_judged_by_graph_and_segments_and_by_its_own_masks(configure: Configure) -> None:
    folder = RunDir(Path(configure().run.dir))
    assert run.train_run(configure()) == 0
    evaluation = judged(folder, overrides=["evaluate.num_clusters=[0, 4]"], which="newest")
    assert list(evaluation.protocols) == ["maskcontrast-kmeans", "mean-embedding", "object-graph", "group-segments"]
    assert [(row.num_clusters, row.subject.masks, len(row.values)) for row in evaluation.rows if row.protocol == "group-segments"] == [(2, "", 1), (3, "", 1)]
    by_groups = judged(folder, overrides=["evaluate.predicted_by=groups"], which="newest")
    assert (evaluation.settings["predicted_by"], by_groups.settings["predicted_by"]) == ("saliency", "groups")
    assert by_groups.settings["saliency_logit_min"] == 0.0
    assert list(folder.neighbours.glob("object_*.png")) and "What training changed" in folder.report.read_text()
