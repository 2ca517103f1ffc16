"""Section `optim`: the optimizer, its schedule, and how a step is computed."""

from dataclasses import dataclass

from mcdist.choices import CompileMode, EngineKind, GradientExchange, OptimizerKind, Precision, Schedule
from mcdist.config.checks import above, at_least, check_fields, require, share


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Science, except for what says how a step is computed (efficiency): accumulation_steps, micro_batch, precision, engine, zero_stage,
    offload_optimizer, gradient_exchange, bucket_mib, compile, compile_mode."""

    global_batch: int = 64
    """Photos per optimizer step, over all ranks and accumulation steps."""
    accumulation_steps: int = 1
    """Equal pieces in which a rank computes its share of the global batch, one after another."""
    micro_batch: int = 0
    """In place of accumulation_steps: photos that a rank holds at a time, whatever the number of ranks. 0: as accumulation_steps says."""
    epochs: int = 60
    optimizer: OptimizerKind = "sgd"
    """sgd | adamw."""
    lr: float = 0.004
    backbone_lr_factor: float = 1.0
    """Learning rate of the backbone as a multiple of lr; beyond the paper."""
    layer_decay: float = 1.0
    """Each backbone block learns at this multiple of the rate of the block after it, the last one at this multiple of the backbone's rate; 1: off.
    Usual for ViTs (0.65 to 0.9); beyond the paper."""
    sgd_momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "poly"
    """poly (power 0.9) | cosine | constant."""
    warmup_steps: int = 0
    clip_grad_norm: float = 0.0
    """0: no clipping."""
    precision: Precision = "fp32"
    """fp32 | bf16 | fp16 (autocast; fp16 with loss scaling)."""
    engine: EngineKind = "ddp"
    """ddp | deepspeed (ZeRO: the optimizer's state, and in stage 2 the gradients, are sharded across the ranks)."""
    zero_stage: int = 1
    """With deepspeed: 0 (nothing is sharded) | 1 (the optimizer's state) | 2 (also the gradients)."""
    offload_optimizer: bool = False
    """With deepspeed, stage 1 or 2: the optimizer's state is kept in the host's memory, and the update runs there."""
    gradient_exchange: GradientExchange = "auto"
    """How DDP averages gradients: auto (ordered with run.deterministic, else allreduce) | allreduce | bf16 (half the bytes, rounded) |
    powersgd (few bytes, approximate; for slow networks) | ordered (summed in rank order: the same bits in a run that was continued)."""
    bucket_mib: float = 25.0
    """Gradients exchanged at a time."""
    compile: bool = False
    compile_mode: CompileMode = "default"
    """With compile: default | reduce-overhead (CUDA graphs: kernels are launched as one; on a CPU the same as default) | max-autotune (the
    same, and tries kernels first, which takes minutes)."""
    max_nonfinite: int = 10
    """Steps in a row with a non-finite loss or gradient before the run stops."""

    def __post_init__(self) -> None:
        check_fields(self, section="optim")
        at_least("optim.global_batch", self.global_batch, 1)
        at_least("optim.accumulation_steps", self.accumulation_steps, 1)
        at_least("optim.epochs", self.epochs, 1)
        above("optim.lr", self.lr, 0)
        at_least("optim.backbone_lr_factor", self.backbone_lr_factor, 0)
        require(0 < self.layer_decay <= 1, f"optim.layer_decay must be > 0 and <= 1, got {self.layer_decay}")
        share("optim.sgd_momentum", self.sgd_momentum)
        at_least("optim.weight_decay", self.weight_decay, 0)
        at_least("optim.warmup_steps", self.warmup_steps, 0)
        at_least("optim.clip_grad_norm", self.clip_grad_norm, 0)
        at_least("optim.max_nonfinite", self.max_nonfinite, 1)
        above("optim.bucket_mib", self.bucket_mib, 0)
        at_least("optim.micro_batch", self.micro_batch, 0)
        require(
            self.micro_batch == 0 or self.accumulation_steps == 1,
            f"optim.micro_batch={self.micro_batch} takes the place of optim.accumulation_steps={self.accumulation_steps}; set one of the two",
        )
        require(
            self.compile or self.compile_mode == "default",
            f"optim.compile_mode={self.compile_mode} needs optim.compile=true, got false",
        )
        self._check_deepspeed()

    def _check_deepspeed(self) -> None:
        require(
            self.zero_stage in (0, 1, 2),
            f"optim.zero_stage must be 0, 1 or 2, got {self.zero_stage}: stage 3 shards the parameters too, and the key encoder has to follow "
            "all of them in every step; optim.zero_stage=2 with model.recompute=true saves more",
        )
        if self.engine == "ddp":
            require(not self.offload_optimizer, "optim.offload_optimizer=true needs optim.engine=deepspeed, got ddp")
            return
        require(not self.compile, "optim.engine=deepspeed needs optim.compile=false, got true; optim.engine=ddp compiles")
        require(self.zero_stage > 0 or not self.offload_optimizer, "optim.offload_optimizer=true needs optim.zero_stage 1 or 2, got 0")
        require(
            self.gradient_exchange in ("auto", "allreduce", "bf16"),
            f"with optim.engine=deepspeed optim.gradient_exchange must be one of auto, allreduce, bf16, got {self.gradient_exchange!r}",
        )
