"""Places: where the bytes of a photo or a map are: a file of their own or a stretch of a tar."""

from dataclasses import dataclass
from pathlib import Path

from mcdist.data.pictures.regular_file import read_regular
from mcdist.errors import DataError


@dataclass(frozen=True, slots=True)
class TarMember:
    """One file inside an uncompressed tar: its content is `size` bytes at `offset`."""

    tar: str
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.tar}:{self.name}"


Place = Path | str | TarMember
"""Text, not Path, where there are many: a million Paths are a gigabyte."""


def read_place(place: Place, *, what: str) -> bytes:
    """All bytes at `place`; `what` names them in messages ("photo", "mask").

    Raises:
        DataError: nothing is there, it cannot be read, or the tar ends too early.
    """
    try:
        if isinstance(place, TarMember):
            return _read_member(place, what=what)
        return read_regular(place)
    except FileNotFoundError as error:
        raise DataError(f"expected a {what} at {place}, found none there; put it back or take it off the list") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the {what} {place} cannot be read ({reason}); check the file and its permissions") from error


def size_and_time(place: Place) -> tuple[str, str]:
    """Size and time stamp as text, "-" where nothing is there. A member's time stamp is its place in the tar."""
    if isinstance(place, TarMember):
        return str(place.size), str(place.offset)
    try:
        found = Path(place).stat()
    except (OSError, ValueError):
        return "-", "-"
    return str(found.st_size), str(found.st_mtime_ns)


def _read_member(member: TarMember, *, what: str) -> bytes:
    with Path(member.tar).open("rb") as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) != member.size:
        raise DataError(f"the {what} {member} should be {member.size} bytes, the tar ends after {len(content)}; copy the tar again")
    return content
