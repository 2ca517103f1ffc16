"""Config: every setting and its default, once; values out of range are errors. No torch here: a login node reads it in a blink.

Sections say what they may change: science (the result), efficiency (only speed and memory), orchestration (only where things happen).
"""

from dataclasses import dataclass, field
from typing import Any

from mcdist.errors import ConfigError

SCHEMA_VERSION = 1


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{key} wants one of {', '.join(choices)}, got {value!r}")


def _at_least(key: str, value: float | int, least: float | int) -> None:
    _require(value >= least, f"{key} wants at least {least:g}, got {value:g}")


def _share(key: str, value: float | int) -> None:
    _require(0.0 <= value <= 1.0, f"{key} wants a share in 0..1, got {value:g}")


@dataclass(frozen=True)
class RunConfig:
    """Orchestration, and the two settings that make a run repeatable."""

    dir: str = "runs/default"
    """Folder of the run; the same command continues it."""
    seed: int = 0
    deterministic: bool = False
    """Science-neutral, slower: the same bits again on the same machine and rank count."""
    device: str = "auto"
    """auto | cpu | cuda."""
    num_threads: int = 0
    """CPU threads a rank; 0: the cores SLURM gave the task, else those of this machine shared out between its ranks."""
    rendezvous_timeout_s: int = 300
    """How long the ranks may take to meet; then those that are missing are named."""
    collective_timeout_s: int = 600
    """How long any one exchange between the ranks may take before the run counts as hung."""
    network_interface: str = ""
    """Interface that ranks talk over, such as ib0, where a node has several; empty: the libraries choose."""
    hang_timeout_s: float = 600.0
    """A rank that makes no step for so long writes down where its threads stand and leaves with exit code 7; the first step may take three times as long.
    0: never. It wants more than a step and the writing of a checkpoint take."""
    lease_s: float = 60.0
    """How long nothing may be heard of the job that holds the run folder before another takes it over. What is known to be dead is not waited for."""
    max_attempts_without_progress: int = 3
    """So many starts in a row without a new checkpoint, and a launcher starts the run no more; a cluster's notice always leads to another start."""

    def __post_init__(self) -> None:
        _one_of("run.device", self.device, ("auto", "cpu", "cuda"))
        _at_least("run.seed", self.seed, 0)
        _at_least("run.num_threads", self.num_threads, 0)
        _at_least("run.rendezvous_timeout_s", self.rendezvous_timeout_s, 1)
        _at_least("run.collective_timeout_s", self.collective_timeout_s, 1)
        _at_least("run.hang_timeout_s", self.hang_timeout_s, 0)
        _at_least("run.lease_s", self.lease_s, 1)
        _at_least("run.max_attempts_without_progress", self.max_attempts_without_progress, 1)
        _require(
            self.lease_s < self.collective_timeout_s,
            f"run.lease_s {self.lease_s:g} wants less than run.collective_timeout_s {self.collective_timeout_s}: all ranks wait while rank 0 sees a lease end",
        )


@dataclass(frozen=True)
class DataConfig:
    """Which samples (science), and how they are read (efficiency: only `decode: scaled` changes pixels, slightly)."""

    train: str = ""
    """Shard folder to train on: a path, or a URL (file, http, https, s3, gs)."""
    val: str = ""
    """Shard folder to evaluate on (with ground truth): a path or a URL."""
    num_workers: int = 2
    prefetch: int = 2
    """Batches each worker keeps ready."""
    block: int = 64
    """Samples read one after another before the order jumps."""
    num_lanes: int = 8
    """Streams of the data order: at least the largest number of ranks intended, a divisor of optim.global_batch."""
    ffcv_cache: str = "os"
    """For FFCV folders: os (files are mapped, the system's cache is shared) | process (each sample is read in one go; network disks)."""
    decode: str = "exact"
    """exact | scaled (a JPEG much larger than its views is decoded at 1/2, 1/4 or 1/8: faster, crop borders and pixels differ slightly)."""
    bad_samples: str = "error"
    """Science. error (a sample that cannot be read stops the run) | skip (it keeps its place, void everywhere; counted and listed)."""
    bad_samples_max_share: float = 0.001
    """With skip: the run stops when more than this share of an epoch's samples, for each epoch begun, could not be read."""
    verify: str = "never"
    """never (a shard's SHA-256 is compared when it is fetched, else not) | open (each process also compares it when it first reads the shard)."""
    cache_dir: str = ""
    """Folder where a node keeps shards fetched from a URL, shared by its processes; $NAME is an environment variable. Empty: below the temporary folder."""
    cache_gib: float = 50.0
    """What cache_dir may hold; the shard used longest ago goes first."""
    stage_to: str = ""
    """Folder on the node's own disk that all shards are copied to before training, from a path or a URL, such as $SLURM_TMPDIR/shards. Empty: none."""

    def __post_init__(self) -> None:
        _at_least("data.num_workers", self.num_workers, 0)
        _at_least("data.prefetch", self.prefetch, 1)
        _at_least("data.block", self.block, 1)
        _at_least("data.num_lanes", self.num_lanes, 1)
        _one_of("data.ffcv_cache", self.ffcv_cache, ("os", "process"))
        _one_of("data.decode", self.decode, ("exact", "scaled"))
        _one_of("data.bad_samples", self.bad_samples, ("error", "skip"))
        _share("data.bad_samples_max_share", self.bad_samples_max_share)
        _one_of("data.verify", self.verify, ("never", "open"))
        _require(self.cache_gib > 0, f"data.cache_gib wants more than 0, got {self.cache_gib:g}")


@dataclass(frozen=True)
class ViewsConfig:
    """Science: how the two views of a photo are drawn. Defaults are the paper's."""

    size_px: int = 224
    crop_scale_min: float = 0.2
    crop_scale_max: float = 1.0
    flip_probability: float = 0.5
    jitter_probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grey_probability: float = 0.2
    blur_probability: float = 0.0
    """Of a Gaussian blur, sigma 0.1 to 2 px; beyond the paper."""
    foreground_min: float = 0.01
    """A view with a smaller share of foreground is drawn again."""
    foreground_max: float = 0.99
    max_redraws: int = 10
    """Then the sample keeps its place and takes part without foreground."""
    max_objects: int = 8
    """Objects a photo; of more the largest stay and the others become void."""

    def __post_init__(self) -> None:
        _at_least("views.size_px", self.size_px, 8)
        _require(self.size_px % 8 == 0, f"views.size_px wants a multiple of the stride 8, got {self.size_px}")
        for name in ("flip_probability", "jitter_probability", "grey_probability", "blur_probability", "foreground_min", "foreground_max"):
            _share(f"views.{name}", getattr(self, name))
        _require(0 < self.crop_scale_min <= self.crop_scale_max <= 1, "views.crop_scale_min, crop_scale_max want 0 < min <= max <= 1")
        for name in ("brightness", "contrast", "saturation"):
            _share(f"views.{name}", getattr(self, name))
        _require(0 <= self.hue <= 0.5, f"views.hue wants 0..0.5, got {self.hue:g}")
        _at_least("views.max_redraws", self.max_redraws, 0)
        _at_least("views.max_objects", self.max_objects, 1)


@dataclass(frozen=True)
class ModelConfig:
    """Science: the encoder and what it starts from."""

    backbone: str = "resnet50"
    """resnet18 | resnet50 | efficientnet_lite0, each dilated to stride 8."""
    weights: str = "none"
    """none | imagenet (packaged, efficientnet_lite0 only) | PATH of a .pth or .safetensors file."""
    num_stages: int = 5
    """Backbone stages used, 3 to 5: 3 stop where stride 8 is reached, small and fast; beyond the paper."""
    decoder: str = "deeplabv3"
    """deeplabv3 | linear (one 1 x 1 convolution; beyond the paper)."""
    embedding_from: str = "decoder"
    """decoder (the paper) | backbone (the embedding is linear in the backbone, the decoder serves the saliency head alone; beyond the paper)."""
    decoder_width: int = 256
    atrous_rates: list[int] = field(default_factory=lambda: [12, 24, 36])
    dropout: float = 0.0
    embedding_dim: int = 32
    norm: str = "batch"
    """batch (statistics of each rank's own images, as the paper's code) | sync (of all ranks' images) | shuffled (batch, but key images change
    ranks before the key encoder, so that an image's two views are not normalised beside the same others; MoCo) | group | frozen (running
    statistics, affine fixed)."""
    recompute: bool = False
    """Efficiency: activations of each backbone stage and of the decoder are computed again in the backward pass, not kept."""
    trainable_from: int = 0
    """Backbone stages before this one stay as they start (0: all train, 5: none trains); beyond the paper."""
    momentum: float = 0.999
    """Of the key encoder's moving average."""
    momentum_buffers: str = "own"
    """own (the paper: each encoder keeps its own running statistics) | copy (the key encoder takes the query's)."""
    bank_size: int = 128
    """Rows of the memory bank; 0 for none."""
    bank_dtype: str = "fp32"
    """fp32 | bf16: how the bank's rows are stored; bf16 takes half the memory and rounds them to 8 bits (beyond the paper)."""

    def __post_init__(self) -> None:
        _one_of("model.backbone", self.backbone, ("resnet18", "resnet50", "efficientnet_lite0"))
        _one_of("model.decoder", self.decoder, ("deeplabv3", "linear"))
        _one_of("model.embedding_from", self.embedding_from, ("decoder", "backbone"))
        _one_of("model.norm", self.norm, ("batch", "sync", "shuffled", "group", "frozen"))
        _one_of("model.momentum_buffers", self.momentum_buffers, ("own", "copy"))
        _one_of("model.bank_dtype", self.bank_dtype, ("fp32", "bf16"))
        _share("model.momentum", self.momentum)
        _share("model.dropout", self.dropout)
        _at_least("model.decoder_width", self.decoder_width, 1)
        _at_least("model.embedding_dim", self.embedding_dim, 1)
        _at_least("model.bank_size", self.bank_size, 0)
        _require(3 <= self.num_stages <= 5, f"model.num_stages wants 3..5, got {self.num_stages}")
        _require(0 <= self.trainable_from <= 5, f"model.trainable_from wants 0..5, got {self.trainable_from}")


@dataclass(frozen=True)
class LossConfig:
    """Science: the two terms."""

    temperature: float = 0.5
    scope: str = "global"
    """global: candidates and balance over all ranks (R ranks compute what one would) | rank: as the paper's code, per rank."""
    saliency_weight: float = 1.0
    pixels_per_object: int = 0
    """So many random pixels of each object take part in the contrast (beyond the paper); 0: all."""
    false_negative_cosine: float = 1.0
    """Candidates whose cosine to the positive prototype is above this leave the denominator (beyond the paper); 1: off."""

    def __post_init__(self) -> None:
        _require(self.temperature > 0, f"loss.temperature wants more than 0, got {self.temperature:g}")
        _one_of("loss.scope", self.scope, ("global", "rank"))
        _at_least("loss.saliency_weight", self.saliency_weight, 0)
        _require(-1 < self.false_negative_cosine <= 1, f"loss.false_negative_cosine wants a cosine above -1, at most 1, got {self.false_negative_cosine:g}")
        _at_least("loss.pixels_per_object", self.pixels_per_object, 0)


@dataclass(frozen=True)
class OpsConfig:
    """Efficiency: how the operators are computed. All ways give the same numbers, but for rounding."""

    implementation: str = "auto"
    """auto | reference (plain torch) | compact (torch, without full-resolution tensors) | fused (C++ on a CPU, Triton on CUDA)."""

    def __post_init__(self) -> None:
        _one_of("ops.implementation", self.implementation, ("auto", "reference", "compact", "fused"))


@dataclass(frozen=True)
class OptimConfig:
    """Science, but for what says how a step is computed (efficiency): accumulation_steps, micro_batch, precision, engine, zero_stage,
    offload_optimizer, gradient_exchange, bucket_mib, compile, compile_mode."""

    global_batch: int = 64
    """Photos an optimizer step, over all ranks and accumulation steps."""
    accumulation_steps: int = 1
    """Equal parts that a rank computes its share of the global batch in, one after another."""
    micro_batch: int = 0
    """In place of accumulation_steps: photos that a rank holds at a time, whatever the number of ranks. 0: as accumulation_steps says."""
    epochs: int = 60
    optimizer: str = "sgd"
    """sgd | adamw."""
    lr: float = 0.004
    backbone_lr_factor: float = 1.0
    """Learning rate of the backbone as a multiple of lr; beyond the paper."""
    sgd_momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "poly"
    """poly (power 0.9) | cosine | constant."""
    warmup_steps: int = 0
    clip_grad_norm: float = 0.0
    """0: no clipping."""
    precision: str = "fp32"
    """fp32 | bf16 | fp16 (autocast; fp16 with loss scaling)."""
    engine: str = "ddp"
    """ddp | deepspeed (ZeRO: the optimizer's state, and in stage 2 the gradients, are parted over the ranks)."""
    zero_stage: int = 1
    """With deepspeed: 0 (nothing is parted) | 1 (the optimizer's state) | 2 (and the gradients)."""
    offload_optimizer: bool = False
    """With deepspeed, stage 1 or 2: the optimizer's state lies in the host's memory, and the update runs there."""
    gradient_exchange: str = "auto"
    """How DDP averages gradients: auto (ordered with run.deterministic, else allreduce) | allreduce | bf16 (half the bytes, rounded) |
    powersgd (few bytes, approximate; for slow networks) | ordered (summed in rank order: the same bits in a run that was continued)."""
    bucket_mib: float = 25.0
    """Gradients exchanged at a time."""
    compile: bool = False
    compile_mode: str = "default"
    """With compile: default | reduce-overhead (CUDA graphs: kernels are launched as one; on a CPU as default) | max-autotune (the same, and
    tries out kernels first, which takes minutes)."""
    max_nonfinite: int = 10
    """Steps in a row with a non-finite loss or gradient before the run stops."""

    def __post_init__(self) -> None:
        _at_least("optim.global_batch", self.global_batch, 1)
        _at_least("optim.accumulation_steps", self.accumulation_steps, 1)
        _at_least("optim.epochs", self.epochs, 0)
        _one_of("optim.optimizer", self.optimizer, ("sgd", "adamw"))
        _one_of("optim.schedule", self.schedule, ("poly", "cosine", "constant"))
        _one_of("optim.precision", self.precision, ("fp32", "bf16", "fp16"))
        _one_of("optim.engine", self.engine, ("ddp", "deepspeed"))
        self._check_deepspeed()
        _one_of("optim.gradient_exchange", self.gradient_exchange, ("auto", "allreduce", "bf16", "powersgd", "ordered"))
        _require(self.bucket_mib > 0, f"optim.bucket_mib wants more than 0, got {self.bucket_mib:g}")
        _at_least("optim.micro_batch", self.micro_batch, 0)
        _require(
            self.micro_batch == 0 or self.accumulation_steps == 1,
            f"optim.micro_batch={self.micro_batch} takes the place of optim.accumulation_steps={self.accumulation_steps}; set one of the two",
        )
        _one_of("optim.compile_mode", self.compile_mode, ("default", "reduce-overhead", "max-autotune"))
        _require(self.compile or self.compile_mode == "default", f"optim.compile_mode={self.compile_mode} wants optim.compile=true, got false")
        _require(self.lr > 0, f"optim.lr wants more than 0, got {self.lr:g}")
        _at_least("optim.backbone_lr_factor", self.backbone_lr_factor, 0)
        _share("optim.sgd_momentum", self.sgd_momentum)
        _at_least("optim.weight_decay", self.weight_decay, 0)
        _at_least("optim.warmup_steps", self.warmup_steps, 0)
        _at_least("optim.clip_grad_norm", self.clip_grad_norm, 0)
        _at_least("optim.max_nonfinite", self.max_nonfinite, 1)

    def _check_deepspeed(self) -> None:
        _require(
            self.zero_stage in (0, 1, 2),
            f"optim.zero_stage wants 0, 1 or 2, got {self.zero_stage}: stage 3 parts the parameters too, and the key encoder has to follow the whole of them "
            "in every step; optim.zero_stage=2 with model.recompute=true saves more",
        )
        if self.engine == "ddp":
            _require(not self.offload_optimizer, "optim.offload_optimizer=true wants optim.engine=deepspeed, got ddp")
            return
        _require(not self.compile, "optim.engine=deepspeed wants optim.compile=false, got true; optim.engine=ddp compiles")
        _require(self.zero_stage > 0 or not self.offload_optimizer, "optim.offload_optimizer=true wants optim.zero_stage 1 or 2, got 0")
        _require(
            self.gradient_exchange in ("auto", "allreduce", "bf16"),
            f"optim.engine=deepspeed exchanges gradients by optim.gradient_exchange auto, allreduce or bf16, got {self.gradient_exchange!r}",
        )


@dataclass(frozen=True)
class CheckpointConfig:
    """Orchestration: what is kept of a run. init_from is science."""

    every_steps: int = 200
    keep: int = 3
    """Newest checkpoints kept; the best one (lowest mean loss over an interval) is kept besides."""
    asynchronous: bool = True
    """Written beside the training from a copy in host memory; false: training waits until it is on the disk."""
    init_from: str = ""
    """Run folder or checkpoint whose weights the encoders start from."""

    def __post_init__(self) -> None:
        _at_least("checkpoint.every_steps", self.every_steps, 1)
        _at_least("checkpoint.keep", self.keep, 1)


@dataclass(frozen=True)
class EvaluateConfig:
    """Science: how the result is measured."""

    classes: dict[str, list[int]] = field(default_factory=dict)
    """Name -> ids in the ground truth; the first class is background. Ids named nowhere are void."""
    size_px: int = 512
    """Photos are resized to size_px x size_px (the paper: 512)."""
    batch: int = 8
    objects: str = "photo"
    """photo (the paper: one object a photo) | components (connected components of the predicted mask)."""
    component_area_min: float = 0.01
    """Smaller components (share of the photo) are dropped; with objects=components."""
    pca_dim: int = 32
    mean_embedding_pca_dim: int = 0
    """PCA of the mean-embedding protocol; 0 for none."""
    num_clusters: int = 0
    """0: classes without background."""
    num_seeds: int = 5
    num_panels: int = 12
    """Photos shown side by side in the report."""
    limit: int = 0
    """Evaluate only the first so many photos, said in the table; 0 for all."""

    def __post_init__(self) -> None:
        _at_least("evaluate.size_px", self.size_px, 8)
        _require(self.size_px % 8 == 0, f"evaluate.size_px wants a multiple of the stride 8, got {self.size_px}")
        _one_of("evaluate.objects", self.objects, ("photo", "components"))
        _share("evaluate.component_area_min", self.component_area_min)
        for name in ("batch", "num_seeds"):
            _at_least(f"evaluate.{name}", getattr(self, name), 1)
        for name in ("pca_dim", "mean_embedding_pca_dim", "num_clusters", "num_panels", "limit"):
            _at_least(f"evaluate.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class ReportConfig:
    """Orchestration: who is told."""

    log_every_steps: int = 10
    console: str = "auto"
    """auto (rich on a terminal, lines elsewhere) | off."""
    mlflow: str = "auto"
    """auto (where mlflow is installed) | on | off."""
    mlflow_uri: str = ""
    """Tracking URI; empty: sqlite in the run folder."""
    mlflow_experiment: str = "mcdist"

    def __post_init__(self) -> None:
        _at_least("report.log_every_steps", self.log_every_steps, 1)
        _one_of("report.console", self.console, ("auto", "off"))
        _one_of("report.mlflow", self.mlflow, ("auto", "on", "off"))


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    schema_version: int = SCHEMA_VERSION
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    ops: OpsConfig = field(default_factory=OpsConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    deepspeed: dict[str, Any] = field(default_factory=dict)
    """Efficiency. DeepSpeed's own settings beside those that follow from ours, by its own keys; one that says otherwise is an error."""

    def __post_init__(self) -> None:
        _require(
            self.schema_version == SCHEMA_VERSION,
            f"schema_version {self.schema_version} of this configuration is not {SCHEMA_VERSION}, which this mcdist reads; write it anew from configs/",
        )
        _require(
            not self.deepspeed or self.optim.engine == "deepspeed",
            f"the section deepspeed ({', '.join(map(str, self.deepspeed))}) wants optim.engine=deepspeed, got {self.optim.engine}; "
            "take it out or set the engine",
        )
        _require(not (self.model.recompute and self.optim.compile), "model.recompute=true wants optim.compile=false, got true")
        batch, parts = self.optim.global_batch, self.optim.accumulation_steps
        _require(batch % parts == 0, f"optim.global_batch {batch} is not divisible by optim.accumulation_steps {parts}")
        _require(
            batch % self.data.num_lanes == 0,
            f"data.num_lanes {self.data.num_lanes} does not divide optim.global_batch {batch}; use one of {[n for n in range(1, batch + 1) if batch % n == 0]}",
        )
