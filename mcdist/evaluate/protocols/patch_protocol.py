"""PatchProtocol: what all protocols of patches share. They check how photos were embedded, judge each encoder, and quote the trained one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mcdist.evaluate.protocols.encoder_rows import Judged, encoder_rows
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import trained_place
from mcdist.evaluate.protocols.ten_switches import TenSwitches
from mcdist.evaluate.view import StoreView
from mcdist.records import Row


@dataclass(frozen=True, slots=True)
class PatchProtocol(ABC):
    """A protocol says what one encoder reached; the rows, their order and the row to quote follow. `terms`: how photos must have been embedded."""

    name: str
    switches: TenSwitches
    terms: PhotoTerms = PhotoTerms()

    def judge(self, store: StoreView) -> list[Row]:
        """A row for each metric and encoder."""
        self.terms.check_store(self.name, store=store)
        return encoder_rows(self.name, store=store, absent=self.switches.absent_classes, judge=partial(self._judge, store))

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder, by the first metric."""
        return trained_place(rows)

    @abstractmethod
    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        """What the encoder of this name reached, by one metric after another."""
