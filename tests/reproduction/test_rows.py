"""The paper's table as it comes with mcdist, and tables that are wrong."""

from pathlib import Path

import pytest

from mcdist.config.file import load_config
from mcdist.errors import ConfigError
from mcdist.records.names import ENCODERS, MASKS, PROTOCOLS, TRAINED_DECODER
from mcdist.records.references import references_of
from mcdist.reproduction.estimate import estimate_row
from mcdist.reproduction.rows import paper_folder, read_paper_table

TABLE = read_paper_table()


def test_every_training_loads_and_rows_without_a_reason_have_a_protocol() -> None:
    for training in TABLE.trainings.values():
        assert load_config(training.path, overrides=[*training.settings, *TABLE.small_training, *TABLE.small_evaluation])
    for row in TABLE.rows.values():
        assert row.unjudged or row.protocol in PROTOCOLS
        assert row.encoder in (*ENCODERS, TRAINED_DECODER) and row.masks in ("", *MASKS) and row.origin
        assert load_config(TABLE.trainings[row.training].path, overrides=list(row.evaluation))


def test_the_table_and_the_references_beside_evaluations_are_the_same_numbers() -> None:
    """Both are the paper's; a number that is corrected in one is corrected in both."""
    protocols = {row.protocol for row in TABLE.rows.values() if row.paper is not None and references_of(row.protocol)}
    assert len(protocols) == 4
    for protocol in protocols:
        ours = {row.paper for row in TABLE.rows.values() if row.protocol == protocol}
        assert {reference.value for reference in references_of(protocol)} <= ours


def test_every_configuration_of_the_folder_is_a_training() -> None:
    files = {path.stem for path in paper_folder().glob("*.yaml")} - {"rows"}
    assert files == {training.config for training in TABLE.trainings.values()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("training: moco_unsupervised\n", "training: moko\n", "training in .* must be one of moco_unsupervised, .* got 'moko'"),
        ("    paper: 35.0\n", "    paper: much\n", "paper in rows.kmeans-moco-unsupervised .* must be a number, got 'much'"),
        ("    paper: 35.0\n", "", "rows.kmeans-moco-unsupervised .* lacks paper"),
        ("    paper: 35.0\n", "    paper: 35.0\n    papre: 1\n", "unknown key 'papre' in rows.kmeans-moco-unsupervised"),
        ("data: voc_unsupervised_saliency", "data: coco", "names the data set 'coco'"),
        ("measured_gflops", "gflops", "unknown key 'gflops' in costs"),
        ("settings: []", "settings: [1]", "must be a list of texts"),
        ("source:", "sources:", "must have the keys source"),
    ],
)
def test_a_table_that_is_wrong_is_one_sentence(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (paper_folder() / "rows.yaml").read_text()
    assert old in text
    (tmp_path / "rows.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        read_paper_table(tmp_path / "rows.yaml")


def test_no_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the table of the paper's rows"):
        read_paper_table(tmp_path / "rows.yaml")


def test_an_estimate_is_photos_times_arithmetic() -> None:
    found = estimate_row(TABLE.costs, num_photos=10, epochs=3, num_seeds=2, judged_photos=5)
    assert (found.trained_photos, found.judged_photos) == (60, 10)
    assert found.train_pflop == pytest.approx(60 * TABLE.costs.train_gflop / 1e6)
    assert found.hours(gflops=1.0) == pytest.approx((60 * TABLE.costs.train_gflop + 20 * TABLE.costs.evaluate_gflop) / 3600)


@pytest.mark.slow
def test_the_tables_arithmetic_is_what_torch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mcdist.build import build_encoder
    from mcdist.config.file import config_of

    encoder = build_encoder(config_of([]).model).to("meta")

    def gflop(px: int, *, backward: bool) -> float:
        with FlopCounterMode(display=False) as count, torch.set_grad_enabled(backward):
            found = encoder(torch.randn(2, 3, px, px, device="meta"))
            if backward:
                (found.features.sum() + found.saliency.sum()).backward()
        return count.get_total_flops() / 2 / 1e9

    assert TABLE.costs.train_gflop == pytest.approx(gflop(224, backward=False) + gflop(224, backward=True), rel=1e-3)
    assert TABLE.costs.evaluate_gflop == pytest.approx(gflop(512, backward=False), rel=1e-3)
