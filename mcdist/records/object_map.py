"""ObjectMap: objects as points in the plane, before and after training, for a page to draw."""

import json
from dataclasses import asdict, dataclass

from mcdist.errors import DataError, reason
from mcdist.json_text import parse_json

FORMAT = "mcdist object map 1"


@dataclass(frozen=True, slots=True)
class Projection:
    """The points of one encoder, [x, y] each within 0..1, and the share of the variance that the two axes have."""

    encoder: str
    explained_percent: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """`class_of`: of each object the index in `classes`. `is_true`: whether that is the ground truth's majority class, else the cluster."""

    masks: str
    classes: tuple[str, ...]
    is_true: bool
    class_of: tuple[int, ...]
    projections: tuple[Projection, ...]

    def to_json(self) -> str:
        """The map as JSON text, coordinates with three decimals."""
        content = asdict(self)
        for projection in content["projections"]:
            projection["points"] = [[round(x, 3), round(y, 3)] for x, y in projection["points"]]
        return json.dumps({"format": FORMAT, **content}, separators=(",", ":")) + "\n"

    @staticmethod
    def from_json(text: str, *, where: str) -> "ObjectMap":
        """Inverse of `to_json`; DataError for other text."""
        try:
            content = parse_json(text)
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            projections = tuple(
                Projection(str(one["encoder"]), float(one["explained_percent"]), tuple((float(x), float(y)) for x, y in one["points"]))
                for one in content["projections"]
            )
            classes, class_of = tuple(map(str, content["classes"])), tuple(map(int, content["class_of"]))
            if any(not 0 <= index < len(classes) for index in class_of) or any(len(one.points) != len(class_of) for one in projections):
                raise ValueError("its points and classes do not fit together")
            return ObjectMap(str(content["masks"]), classes, bool(content["is_true"]), class_of, projections)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{where} is not an object map that this mcdist wrote ({reason(error)}); run: mcdist evaluate RUN") from error
