"""The objects that a run finds, from features of its frozen backbone that were kept before: runs that share a backbone share what takes the time."""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Int

from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.data.loader import read_sample
from mcdist.data.pictures.resize import resize_nearest
from mcdist.disk.checkpoint import find_checkpoint
from mcdist.errors import ConfigError
from mcdist.evaluate.extract.embed import upsampled
from mcdist.evaluate.extract.encoders import evaluating
from mcdist.evaluate.extract.masks import logit_min_of, predicted_objects
from mcdist.evaluate.extract.pool import count_pixels, pool_objects
from mcdist.evaluate.metrics.confusion import object_histograms
from mcdist.evaluate.metrics.labels import LabelMap
from mcdist.evaluate.table_names import NUM_IDS, patches_of
from mcdist.model.encoder import Encoder
from mcdist.model.weights_digest import weights_digest
from mcdist.records.names import PREDICTED, TRAINED, TRAINED_BACKBONE, UNIT_MEAN
from mcdist.run_dir import RunDir
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore
from mcdist.trained import encoder_of

BATCH = 8


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects found in some photos: their vectors, photos, the pixels of each class in them, and the pixels of each class outside of all."""

    vectors: Float[numpy.ndarray, "O D"]
    photo_of: Int[numpy.ndarray, " O"]
    histograms: Int[numpy.ndarray, "O C"]
    outside: Int[numpy.ndarray, " C"]


def encoders_of(run_dirs: list[RunDir]) -> list[Encoder]:
    """The newest encoder of each run.

    Raises:
        ConfigError: their backbones are not the same.
    """
    encoders = [encoder_of(load_run_config(run_dir), find_checkpoint(run_dir.root, which="newest").tensors, device="cpu") for run_dir in run_dirs]
    if len({weights_digest(encoder.backbone) for encoder in encoders}) > 1:
        raise ConfigError("the runs must share a frozen backbone, their backbones differ; give runs of one configuration with model.trainable_from=5")
    return encoders


def objects_of(encoder: Encoder, *, store: FeatureStore, shards: str, config: Config, labels: LabelMap) -> Objects:
    """What the encoder finds in the photos of `store`, which holds its backbone's features in fp16; connected components are objects."""
    reader, settings = build.open_reader(shards, key="--train", data=config.data), config.evaluate
    vectors, photo_of, histograms = [], [], []
    outside = numpy.zeros(NUM_IDS, dtype=numpy.int64)
    column = store.column(PHOTOS, patches_of(TRAINED_BACKBONE))
    with evaluating(encoder):
        for start in range(0, store.num_photos, BATCH):
            photos = numpy.arange(start, min(start + BATCH, store.num_photos))
            embedded = encoder.head(torch.from_numpy(column.take(photos)).permute(0, 3, 1, 2).float().contiguous())
            saliency = upsampled(embedded.saliency[:, 0], size_px=settings.size_px)
            masks, _ = predicted_objects(saliency, objects="components", area_min=settings.component_area_min, logit_min=logit_min_of("saliency"))
            pooled = pool_objects({TRAINED: embedded.features}, masks={PREDICTED: masks}, saliency=saliency)[PREDICTED, UNIT_MEAN, TRAINED]
            valid = (count_pixels(masks) > 0).view(len(photos), -1).numpy()
            vectors.append(pooled.numpy()[valid.ravel()])
            for place, photo in enumerate(photos.tolist()):
                truth = read_sample(reader, photo, with_segments=True).segments
                assert truth is not None, "shards without ground truth are refused before"
                own_size = resize_nearest(masks.objects[place].numpy(), height=truth.shape[0], width=truth.shape[1])
                counts = object_histograms(own_size, truth=truth.numpy(), num_objects=valid.shape[1], num_classes=NUM_IDS)
                histograms.append(counts[1:][valid[place]])
                outside += counts[0] + counts[1:][~valid[place]].sum(axis=0)
                photo_of += [photo] * int(valid[place].sum())
    return Objects(
        numpy.concatenate(vectors), numpy.array(photo_of), numpy.concatenate(histograms).astype(numpy.int64) @ labels.of_ids, outside @ labels.of_ids
    )
