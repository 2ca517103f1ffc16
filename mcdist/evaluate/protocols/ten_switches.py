"""TenSwitches: the ten choices that decide a pixel-level number and that papers leave out. A patch protocol fixes and prints every one of them."""

from dataclasses import dataclass

from mcdist.evaluate.metrics.confusion import Absent


@dataclass(frozen=True, slots=True, kw_only=True)
class TenSwitches:
    """In the order in which they act."""

    resize: str
    """1. What becomes of photo and truth before anything else."""
    scored_at: str
    """2. The size at which prediction and truth are compared, and how each gets there."""
    fitted_on: str
    """3. The photos that clusters or a probe are fitted on."""
    subsampling: str
    """4. Which of their patches."""
    scaling: str
    """5. Standardising, PCA, whitening."""
    num_clusters: int | str
    """6. K; none where nothing is clustered."""
    matching: str
    """7. How predictions become classes, and what becomes of unmatched ones."""
    absent_classes: Absent
    """8. What a class counts that the truth never shows."""
    flip_and_crf: str
    """9. Averaging with the mirrored photo, CRF."""
    label_choice: str
    """10. What was chosen by a score that reads labels of the judged photos."""


NO_FLIP_NO_CRF = "no flip, no CRF"
NO_LABEL_CHOICE = "nothing"
