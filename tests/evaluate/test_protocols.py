"""The registry: protocols by name, with their switches and needs."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mcdist.errors import ConfigError
from mcdist.evaluate.protocols import registry
from mcdist.evaluate.protocols.protocol import switches_of
from mcdist.records import Row, Subject
from mcdist.records.names import PROTOCOLS
from tests.evaluate.colour_world import EXTRACT, JUDGE, judge_store, make_sample, make_store


def test_every_name_has_a_protocol_with_switches_and_a_summary() -> None:
    assert tuple(registry.MAKERS) == PROTOCOLS
    for protocol in registry.make_protocols(PROTOCOLS, settings=JUDGE):
        fixed = protocol.name.startswith("overcluster") and protocol.name.endswith("/published")  # by their source; others have JUDGE's, or no seeds
        own = 5 if fixed else 2
        assert switches_of(protocol).get("num_seeds", own) == own
        assert registry.summary_of(protocol.name).endswith((".", "truth."))


def test_an_unknown_protocol_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'mean-embeding'; did you mean 'mean-embedding'\\? known: maskcontrast-kmeans"):
        registry.make_protocols(["mean-embeding"], settings=JUDGE)


def test_a_protocol_named_twice_judges_once() -> None:
    assert [protocol.name for protocol in registry.make_protocols(["mean-embedding"] * 2, settings=JUDGE)] == ["mean-embedding"]


@dataclass(frozen=True)
class PatchesEach:
    """A protocol as a newcomer writes it: needs patches, paints nothing."""

    name: str = "patches-each"
    needs: frozenset = frozenset({"patches"})
    switches: object = field(default_factory=lambda: JUDGE)

    def judge(self, store):
        return [Row(self.name, Subject("trained"), "photos", "", (float(len(store.patches("trained"))),))]

    def quote(self, rows):
        return 0


def test_a_protocol_of_another_kind_judges_patches_and_needs_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MAKERS, "patches-each", lambda settings: PatchesEach())
    samples = [make_sample(index) for index in range(3)]
    with pytest.raises(ConfigError, match="the protocol patches-each needs patches, colours offers objects only"):
        judge_store(make_store(tmp_path / "without", samples=samples), classes=None, protocols=["patches-each"])
    store = make_store(tmp_path / "with", samples=samples, settings=replace(EXTRACT, patches=True))
    judged, _ = judge_store(store, classes=None, protocols=["patches-each"])
    assert judged.painting is None
    assert judged.evaluation.rows[0].values == (3.0,) and judged.evaluation.classes == ()


def test_scores_without_ground_truth_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=[make_sample(0)])
    with pytest.raises(ConfigError, match="maskcontrast-kmeans needs truth, colours offers objects only"):
        judge_store(store, classes=None, protocols=["maskcontrast-kmeans"])
