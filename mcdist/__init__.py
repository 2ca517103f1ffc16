"""mcdist: dense representations without labels, from photos and object-mask proposals (MaskContrast), from one laptop to a cluster."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    from mcdist.machine.waiting import wait_briefly

    wait_briefly()
    from mcdist.loading import load_run  # torch is imported here, not by `import mcdist`

    return load_run(run, checkpoint=checkpoint, device=device)


def discover(
    photos: "Path | str",
    *,
    out: "Path | str",
    minutes: float | None = None,
    method: str | None = None,
    overrides: "Sequence[str]" = (),
    num_workers: int = 1,
    device: "Device" = "auto",
) -> "LoadedRun":
    """Everything from a folder of photos to a run in `out` that is ready to segment, embed and search photos: `mcdist discover`, then `load`.

    Args:
        minutes: train as long as fits into so many for all stages; None: as configs/photos.yaml.
        method: of the mask proposals; None: `ensemble`.
        overrides: settings over those of configs/photos.yaml, as `section.key=value`.
        num_workers: processes for proposals and shards.
        device: of the loaded run; that of the training is the setting run.device.

    Raises:
        McdistError: as `mcdist.workflows.discovery.discover`, and where a signal stopped it; the same call goes on.
    """
    from pathlib import Path

    from mcdist.errors import McdistError
    from mcdist.machine.waiting import wait_briefly

    wait_briefly()
    from mcdist.workflows.discovery import discover as make

    code = make(Path(photos), out=Path(out), minutes=minutes, method=method, overrides=overrides, num_workers=num_workers)
    if code:
        raise McdistError(f"the discovery in {out} was stopped by a signal (exit code {code}); the same call goes on")
    return load(out, device=device)
