"""Masks: which pixels of a training photo are which object of the catalogue, from the feature store that the catalogue was made of."""

from pathlib import Path

import numpy
from jaxtyping import Int

from mcdist.catalogue.facts import CatalogueFacts
from mcdist.errors import DataError
from mcdist.evaluate.table_names import SALIENCY
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore


class CatalogueMasks:
    """Reads the logits of a photo when its masks are asked for."""

    def __init__(self, store: FeatureStore, *, facts: CatalogueFacts) -> None:
        self._saliency, self._settings = store.column(PHOTOS, SALIENCY), facts.settings

    @staticmethod
    def find(features: Path, *, facts: CatalogueFacts) -> "CatalogueMasks | None":
        """From the store among `features` that the catalogue was made of; None where that was deleted."""
        for folder in sorted(features.glob("*")):
            try:
                store = FeatureStore(folder)
            except DataError:
                continue
            plan = store.manifest.plan
            of_same = plan.checkpoint.get("trained") == facts.checkpoint and plan.data.get("samples") == facts.samples
            if of_same and facts.settings.items() <= plan.settings.items() and store.has(PHOTOS, SALIENCY):
                return CatalogueMasks(store, facts=facts)
        return None

    def of(self, photo: int) -> Int[numpy.ndarray, "S S"] | None:
        """The map of object numbers of a photo at the size that the encoder saw, 0 outside every object; None where the store has no such photo."""
        if photo >= len(self._saliency):
            return None
        import torch  # takes seconds, in which the page is there already

        from mcdist.evaluate.extract.embed import upsampled
        from mcdist.evaluate.extract.masks import logit_min_of, predicted_objects

        saliency = upsampled(torch.from_numpy(self._saliency.take(numpy.array([photo]))), size_px=self._settings["size_px"])
        found, _ = predicted_objects(
            saliency,
            objects=self._settings["objects"],
            area_min=self._settings["component_area_min"],
            logit_min=logit_min_of(self._settings["predicted_by"]),
        )
        return found.objects[0].numpy()
