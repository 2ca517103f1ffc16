"""The profile of a training step as a table for the terminal."""

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mcdist.records.step_profile import StepPart, StepProfile

MEANING = (
    "GFLOP: convolutions and matrix products. of a matrix product: of what a plain product of two matrices reaches here, the most that a part could. "
    "The fused loss and pooling are not counted (-)."
)


def profile_table(profile: StepProfile) -> Group:
    """A row a part, the longest first; whole steps and the machine above, what the columns mean below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bright_black")
    table.add_column("part")
    for name in ("ms", "share %", "GFLOP", "GFLOP/s", "of a matrix product %"):
        table.add_column(name, justify="right")
    for part in profile.parts:
        table.add_row(part.name, f"{part.median_ms:,.2f}", f"{profile.share_percent(part):.1f}", *_arithmetic(profile, part))
    return Group(Text("\n".join(described(profile)), style=""), table, Text(MEANING, style="bright_black"))


def described(profile: StepProfile) -> list[str]:
    """The machine, the training and whole steps, in three lines."""
    step_ms = sorted(profile.step_ms)
    return [
        f"{profile.machine}, {profile.num_threads} threads, load {profile.load_average:.1f}; {profile.device}, {profile.precision}; {profile.allocator}; "
        f"a matrix product reaches {profile.matrix_gflops:,.0f} GFLOP/s",
        f"{profile.model}; {profile.photos_per_step} photos of {profile.view_px} px a step, {profile.num_workers} data workers, {profile.num_ranks} "
        f"{'rank' if profile.num_ranks == 1 else 'ranks'}; operators: {profile.ops}",
        f"whole steps: {profile.photos_per_s:,.1f} photos/s, {step_ms[len(step_ms) // 2]:,.1f} ms ({step_ms[0]:,.1f} to {step_ms[-1]:,.1f}, "
        f"{profile.num_steps} steps), {profile.page_faults_per_step:,.0f} page faults a step, {profile.peak_resident_gib:.2f} GiB at most",
    ]


def _arithmetic(profile: StepProfile, part: StepPart) -> tuple[str, str, str]:
    if not part.gflop:
        return "-", "-", "-"
    return f"{part.gflop:,.2f}", f"{part.gflops:,.1f}", f"{profile.rate_percent(part):.0f}"
