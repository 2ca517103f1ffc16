"""Layout: the tables and columns that an extraction writes."""

from mcdist.evaluate.extract.encoders import EncoderPair, Encoders
from mcdist.evaluate.settings import ExtractSettings
from mcdist.evaluate.table_names import (
    AREA_PX,
    BACKGROUND,
    BOX,
    DROPPED,
    HEIGHT,
    HISTOGRAM,
    ID,
    LABELS,
    LOST,
    NUMBER,
    PHOTO,
    SALIENCY,
    WIDTH,
    mirrored_of,
    patches_of,
    segments_of,
    vectors_of,
)
from mcdist.records.names import MASKS, POOLINGS, TRAINED_DECODER
from mcdist.store.names import PHOTOS


def layout(encoders: Encoders, *, settings: ExtractSettings) -> dict[str, list[str]]:
    """Table -> columns written for these encoders."""
    predicts = isinstance(encoders, EncoderPair)
    photos = [HEIGHT, WIDTH, *((DROPPED, SALIENCY) if predicts else ()), *(f"{LOST}/{masks}" for masks in encoders.masks)]
    objects = [PHOTO, NUMBER, AREA_PX, BOX, *(vectors_of(pooling, encoder) for pooling in POOLINGS for encoder in encoders.names)]
    if settings.with_truth:
        photos += [*(f"{BACKGROUND}/{masks}" for masks in encoders.masks), *map(segments_of, encoders.num_groups)]
        objects.append(HISTOGRAM)
    if settings.patches:
        photos += [patches_of(encoder) for encoder in encoders.names]
    if settings.mirrored:
        photos += [mirrored_of(encoder) for encoder in encoders.names]
    if settings.decoded and predicts:
        photos.append(patches_of(TRAINED_DECODER))
    tables = {PHOTOS: photos, **{masks: list(objects) for masks in encoders.masks}}
    return {**tables, LABELS: [ID]} if settings.label_maps else tables


def aliases(encoders: Encoders, *, settings: ExtractSettings) -> tuple[tuple[str, str, str], ...]:
    """(table, column, column with the same values) of encoders whose features are those of another one."""
    names = encoders.aliases.items()
    vectors = [(masks, vectors_of(pooling, alias), vectors_of(pooling, source)) for masks in MASKS for pooling in POOLINGS for alias, source in names]
    maps = [name for name, kept in ((patches_of, settings.patches), (mirrored_of, settings.mirrored)) if kept]
    return (*vectors, *((PHOTOS, name(alias), name(source)) for name in maps for alias, source in names))
