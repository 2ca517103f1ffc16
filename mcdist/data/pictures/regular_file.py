"""Files of a folder that anybody may have filled: what is no regular file is refused before it is read."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path | str) -> BinaryIO:
    """A regular file, or what a link to one leads to, to be read.

    Raises:
        OSError: there is none, it cannot be read, or it is something else: a pipe would be waited for without an end, a device has none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe without NONBLOCK waits for a writer
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path | str) -> bytes:
    """All bytes of what `open_regular` opens."""
    with open_regular(path) as file:
        return file.read()
