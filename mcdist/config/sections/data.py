"""Section `data`: which samples are read, and how."""

from dataclasses import dataclass

from mcdist.choices import BadSamples, Decode, FfcvCache, Verify
from mcdist.config.checks import above, at_least, check_fields, share, written_out
from mcdist.location import check_location


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which samples (science), and how they are read (efficiency: only `decode: scaled` changes pixels, slightly).

    `train` is science by its content: a run remembers the keys of its samples, so their folder may move.
    """

    train: str = ""
    """Shard folder to train on: a path, or a URL (file, http, https, s3, gs)."""
    val: str = ""
    """Shard folder to evaluate on (with ground truth): a path or a URL."""
    num_workers: int = 2
    prefetch: int = 2
    """Batches that each worker keeps ready."""
    block: int = 64
    """Samples read one after another before the order jumps."""
    num_lanes: int = 8
    """Streams of the data order: at least the largest number of ranks intended, and a divisor of optim.global_batch."""
    ffcv_cache: FfcvCache = "os"
    """For FFCV folders: os (files are mapped, the system's cache is shared) | process (each sample is read in one go; network disks)."""
    decode: Decode = "exact"
    """exact | scaled (a JPEG much larger than its views is decoded at 1/2, 1/4 or 1/8: faster, crop borders and pixels differ slightly)."""
    bad_samples: BadSamples = "error"
    """Science. error (a sample that cannot be read stops the run) | skip (it keeps its place, void everywhere; counted and listed)."""
    bad_samples_max_share: float = 0.001
    """With skip: the run stops when more than this share of an epoch's samples, for each epoch begun, could not be read."""
    verify: Verify = "never"
    """never (a shard's SHA-256 is compared only when it is fetched) | open (each process also compares it when it first reads the shard)."""
    cache_dir: str = ""
    """Folder where a node keeps shards fetched from a URL, shared by its processes; $NAME is an environment variable. Empty: below the temporary folder."""
    cache_gib: float = 50.0
    """The most that cache_dir may hold; the shard used longest ago is removed first."""
    stage_to: str = ""
    """Folder on the node's own disk that all shards are copied to before training, from a path or a URL, such as $SLURM_TMPDIR/shards. Empty: none."""

    def __post_init__(self) -> None:
        check_fields(self, section="data")
        for name in ("train", "val", "cache_dir", "stage_to"):
            check_location(getattr(self, name), key=f"data.{name}")
        for name in ("train", "val"):
            written_out(f"data.{name}", getattr(self, name))
        for name in ("cache_dir", "stage_to"):
            written_out(f"data.{name}", getattr(self, name), variables=True)
        at_least("data.num_workers", self.num_workers, 0)
        at_least("data.prefetch", self.prefetch, 1)
        at_least("data.block", self.block, 1)
        at_least("data.num_lanes", self.num_lanes, 1)
        share("data.bad_samples_max_share", self.bad_samples_max_share)
        above("data.cache_gib", self.cache_gib, 0)
