"""PhotoTerms: under which input and size photos must have been embedded for a protocol's name to be true."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcdist.choices import PhotoInput
from mcdist.errors import ConfigError
from mcdist.evaluate.inputs import PLAIN
from mcdist.evaluate.view import StoreView


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoTerms:
    """`input`: of evaluate.input. `size_px`: the side of the squared photos, None for any."""

    input: PhotoInput = PLAIN
    size_px: int | None = None

    def check(self, protocol: str, *, photo_input: str, size_px: int) -> None:
        """Raise ConfigError where photos are treated differently; it says what to set."""
        right_size = self.size_px in (None, size_px)
        if right_size and photo_input == self.input:
            return
        wanted = [f"evaluate.input={self.input}", *([] if self.size_px is None else [f"evaluate.size_px={self.size_px}"])]
        other = f", or judge by {protocol.removesuffix('/published')}/clean" if protocol.endswith("/published") else ""
        raise ConfigError(
            f"{protocol} is defined for photos under {' '.join(wanted)}, they are under evaluate.input={photo_input} evaluate.size_px={size_px}; "
            f"set {' '.join(wanted)}{other}"
        )

    def check_store(self, protocol: str, *, store: StoreView) -> None:
        """`check` the photos of a store, and those to fit on."""
        for view in (store, store.train):
            if view is not None:
                settings = view.store.manifest.plan.settings
                self.check(protocol, photo_input=settings.get("input", PLAIN), size_px=settings["size_px"])


def check_photos(protocols: Sequence[Any], *, photo_input: str, size_px: int) -> None:
    """`check` all protocols that have terms, before any photo is embedded."""
    for protocol in protocols:
        if isinstance(terms := getattr(protocol, "terms", None), PhotoTerms):
            terms.check(protocol.name, photo_input=photo_input, size_px=size_px)
