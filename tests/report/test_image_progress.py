from mcdist.report.console import Console
from mcdist.report.image_progress import ImageProgress


class Terminal(Console):
    def __init__(self) -> None:
        super().__init__(mode="off", total_steps=12, samples_per_step=1)
        self.heard: list[tuple[int, float]] = []

    @property
    def is_live(self) -> bool:
        return True

    def update(self, records) -> None:
        self.heard += [(record.step, record.value) for record in records]


def test_progress_moves_with_every_batch_on_a_terminal_and_counts_all_ranks() -> None:
    console = Terminal()
    progress = ImageProgress(console, total=12, num_ranks=2)
    for num_done in (2, 4, 6):
        progress(num_done, 6)
    assert [step for step, _ in console.heard] == [4, 8, 12]
    assert all(speed > 0 for _, speed in console.heard)
