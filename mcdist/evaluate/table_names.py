"""Columns of an evaluation's feature store.

Table `photos` has a row for each photo, tables `predicted` and `proposals` one for each object, and table `labels` one for each pixel: label maps have
sizes of their own, which no column of photos could hold.
"""

from mcdist.store.names import VECTORS

HEIGHT, WIDTH = "height", "width"
"""Of the photo itself, in pixels."""
SALIENCY = "saliency"
"""The trained encoder's logits at stride, [h, w], that masks are predicted from: of its saliency head, or of its group head."""
DROPPED = "dropped"
"""Predicted components smaller than component_area_min."""
LOST = "lost"
"""`lost/MASKS`: objects of a photo without a pixel after resizing."""
BACKGROUND = "background"
"""`background/MASKS`: pixels of each id of the ground truth outside every object."""

SEGMENTS = "segments/"
"""`segments/K`: pixels of each id of the ground truth in each segment of the group head's set of K groups, [K + 1, NUM_IDS]; row 0 is background."""

CRF_SEGMENTS = "crf-segments/"
"""`crf-segments/K`: the same after a CRF."""

PHOTO = "photo"
"""The object's photo, by index in the data set."""
NUMBER = "number"
"""The object's number in its photo's instance map."""
AREA_PX = "area_px"
BOX = "box"
"""Top, left, bottom, right, as shares of the photo."""
HISTOGRAM = "histogram"
"""Pixels of each id of the ground truth in the object."""

LABELS, ID = "labels", "id"
"""The table and the column of the ground truth's raw ids, photo by photo, row by row of each photo's own size; 255 void."""

NUM_IDS = 256
"""Ids of a ground truth: 0..254, and 255 void, which is never counted."""


def vectors_of(pooling: str, encoder: str) -> str:
    """The column of object vectors."""
    return f"{VECTORS}{pooling}/{encoder}"


def segments_of(num_groups: int, *, after_crf: bool = False) -> str:
    """The column of a photo's pixels by group and id."""
    return f"{CRF_SEGMENTS if after_crf else SEGMENTS}{num_groups}"


def patches_of(encoder: str) -> str:
    """The column of a photo's features in fp16, [h, w, D]."""
    return f"patches/{encoder}"


def mirrored_of(encoder: str) -> str:
    """The column of a mirrored photo's features in fp16, mirrored back, [h, w, D]."""
    return f"mirrored/{encoder}"
