"""CataloguedObjects: the objects of a catalogue as columns, one row an object. A row's place is the object's id."""

from dataclasses import dataclass

import numpy
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguedObjects:
    """`photo`: index in the data set; `number`: of the object in its photo, from 1; `area_px` at the photo's own size; `box`: top, left, bottom, right as
    shares of the photo; `vector`: its mean unit embedding, unit; `cluster` and `confidence` as `Clusters.assign` gives them."""

    photo: Int[numpy.ndarray, " O"]
    number: Int[numpy.ndarray, " O"]
    area_px: Int[numpy.ndarray, " O"]
    box: Float[numpy.ndarray, "O 4"]
    vector: Float[numpy.ndarray, "O D"]
    cluster: Int[numpy.ndarray, " O"]
    confidence: Float[numpy.ndarray, " O"]

    def __len__(self) -> int:
        return len(self.photo)
