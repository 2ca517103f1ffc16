"""mcdist: dense representations without labels, from photos and object-mask proposals (MaskContrast), from one laptop to a cluster."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mcdist.choices import Device
    from mcdist.loading import LoadedRun

__version__ = "0.1.0"


def load(run: "Path | str", *, checkpoint: str = "", device: "Device" = "auto") -> "LoadedRun":
    """The run folder `run`, which has a catalogue (`mcdist cluster`), ready to segment, embed and search photos.

    Raises:
        ConfigError: no such run, or `checkpoint` is another than the catalogue's.
        DataError: the run has no catalogue, or it is damaged.
        CheckpointError: the catalogue's checkpoint is gone or damaged.
    """
    from mcdist.loading import load_run  # torch is imported here, not by `import mcdist`

    return load_run(run, checkpoint=checkpoint, device=device)
