"""The page of followed videos: the table, the animations, and nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from mcdist.errors import DataError
from mcdist.evaluate.metrics.davis import ObjectScore
from mcdist.records import Row
from mcdist.report.page import davis
from mcdist.report.page.davis import davis_page
from mcdist.video.folder import VideoScores
from mcdist.video.rows import davis_rows

ENCODERS = ("trained", "initial backbone", "first frame")


def rows(*, num: int = 2) -> list[Row]:
    videos = [
        VideoScores(f"video_{place}", 5, 1, {name: (ObjectScore(1, (0.5, 0.6, 0.1 * place), (0.4, 0.5, 0.6)),) for name in ENCODERS}, wall_s=1.0)
        for place in range(num)
    ]
    return davis_rows(videos, protocol="davis-propagation", encoders=ENCODERS)


def page(folder: Path, *, names: tuple[str, ...] = ("video_0", "video_1"), num_bytes: int = 30, **changed: object) -> str:
    for name in names:
        (folder / f"{name}.webp").write_bytes(b"R" * num_bytes)
    given = {"title": "DAVIS", "lead": "2 videos.", "animated": [(name, folder / f"{name}.webp") for name in names], "unscored": {}, **changed}
    return davis_page(rows(), **given)  # type: ignore[arg-type]


def test_it_has_every_score_and_every_animation_and_fetches_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, unscored={"short": "too short"})
    assert text.count('src="data:image/webp;base64,') == 2 and text.count("<details") == 2
    assert all(f"<td>{encoder}</td>" in text for encoder in ENCODERS) and "without a score: too short" in text
    first = rows()[0].details["by_video_percent"]["video_1"]
    assert f'<td class="mono">video_1</td><td class="number">{first:.1f}</td>' in text and f"trained {first:.1f} %" in text
    assert not re.search(r"https?:|<script|<link|<iframe", text)


def test_animations_beyond_its_size_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(davis, "MAX_ANIMATION_BYTES", 150)
    text = page(tmp_path, num_bytes=60)
    assert text.count("data:image/webp") == 1 and "left out here to keep it small: video_1." in text


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    text = page(tmp_path, title="<script>alert(1)</script>", unscored={"<script>": "<script>"})
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_missing_animation_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the animation .*; run mcdist davis again"):
        davis_page(rows(), title="", lead="", animated=[("video_0", tmp_path / "none.webp")], unscored={})
