"""Judge: protocols on a feature store make the Evaluation of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.protocol import Painter, Protocol, Retriever, switches_of
from mcdist.evaluate.protocols.registry import check_needs
from mcdist.evaluate.view import StoreView
from mcdist.records import Evaluation, Retrieved
from mcdist.records.names import PREDICTED, PROPOSALS


@dataclass(frozen=True, slots=True)
class Judgement:
    """An evaluation, and the classes of the objects behind its headline row; None where its protocol gives none. `retrieved`: by the first protocol that
    looks for nearest objects, none without one."""

    evaluation: Evaluation
    painting: Painting | None
    retrieved: tuple[Retrieved, ...] = ()


def judge(
    store: StoreView,
    *,
    protocols: Sequence[Protocol],
    step: int,
    num_photos_in_dataset: int,
    chosen_by: str = "",
    elapsed_s: Callable[[], float] = lambda: 0.0,
    say: Callable[[str], None] = lambda text: None,
) -> Judgement:
    """All rows of all protocols; the first protocol says which of its own to quote. `say` hears which one begins. `chosen_by`: what the
    checkpoint was chosen by of several, which the table repeats.

    Raises:
        ConfigError: a protocol needs what the store does not hold.
        DataError: nothing to judge.
        MissingExtraError: a package is not installed.
    """
    check_needs(protocols, store=store)
    judged = []
    for protocol in protocols:
        say(f"judging by {protocol.name}")
        judged.append(protocol.judge(store))
    first, rows = protocols[0], judged[0]
    quoted = first.quote(rows)
    painting = first.paint(store, row=rows[quoted]) if isinstance(first, Painter) else None
    truth = store.truth if "truth" in first.needs else None
    evaluation = Evaluation(
        step=step,
        dataset=store.dataset,
        has_truth=truth is not None,
        classes=truth.classes if truth else (painting.classes if painting else ()),
        num_photos=store.store.num_photos,
        num_photos_in_dataset=num_photos_in_dataset,
        mask_iou_percent=truth.mask_iou_percent if truth else {},
        rows=tuple(row for found in judged for row in found),
        headline=quoted,
        protocols={protocol.name: switches_of(protocol) for protocol in protocols},
        settings={**_settings(store, num_photos_in_dataset=num_photos_in_dataset), **({"checkpoint chosen by": chosen_by} if chosen_by else {})},
        wall_s=elapsed_s(),
        photos=str(store.store.manifest.plan.data.get("samples", "")),
    )
    found = ((one, of_one) for one, of_one in zip(protocols, judged, strict=True) if isinstance(one, Retriever))
    retrieved = next((one.retrieved(store, row=of_one[one.quote(of_one)]) for one, of_one in found), ())
    return Judgement(evaluation, painting, retrieved)


def _settings(store: StoreView, *, num_photos_in_dataset: int) -> dict[str, Any]:
    """How photos became objects and objects vectors, and what was left out."""
    plan = store.store.manifest.plan
    settings = plan.settings
    return {
        **_truth_settings(store),
        **({"backbone": plan.about["backbone"]} if "backbone" in plan.about else {}),
        **_train_settings(store.train),
        "limit": plan.num_photos if plan.num_photos < num_photos_in_dataset else None,
        "device": plan.about.get("device"),
        "size_px": settings["size_px"],
        **({"input": settings["input"]} if "input" in settings else {}),
        "objects": settings["objects"],
        "predicted_by": settings["predicted_by"],
        "component_area_min": settings["component_area_min"] if settings["objects"] == "components" else None,
        "saliency_logit_min": settings.get("saliency_logit_min"),
        "object_weight": {PREDICTED: "saliency logit", PROPOSALS: "1"},
        "iou": "over all pixels but void, whole set; background takes part",
        "counts": store.counts(),
    }


def _train_settings(train: StoreView | None) -> dict[str, Any]:
    """Which photos probes were fitted on."""
    if train is None:
        return {}
    plan = train.store.manifest.plan
    num_passes = plan.settings.get("num_passes", 1)
    num_photos = plan.num_photos // num_passes
    num_in_dataset = plan.about.get("num_photos_in_dataset", num_photos)
    subset = f" of {num_in_dataset:,} (a subset)" if num_photos < num_in_dataset else ""
    passes = f", in {num_passes} augmented passes" if num_passes > 1 else ""
    return {"fitted on": f"{num_photos:,}{subset} photos of {train.dataset}{passes}"}


def _truth_settings(store: StoreView) -> dict[str, Any]:
    if store.truth is None:
        return {"ground truth": "none: no score says whether the clusters are right"}
    labels = store.truth.labels
    return {"classes": labels.ids, "absent_classes": store.truth.absent}
