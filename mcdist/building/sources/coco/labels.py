"""Labels: which ground truth the shards of COCO hold."""

from enum import StrEnum


class Labels(StrEnum):
    """COCO's own categories, the classes of COCO-Stuff, or none; `auto` chooses by the files that are given."""

    auto = "auto"
    none = "none"
    categories = "categories"
    coarse = "coarse"
    fine = "fine"
