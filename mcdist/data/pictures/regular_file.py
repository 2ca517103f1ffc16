"""Files of a folder that anybody may have filled: what is no regular file is refused before it is read."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path | str) -> bytes:
    """All bytes of a regular file, or of what a link to one leads to.

    Raises:
        OSError: there is none, it cannot be read, or it is something else: a pipe would be waited for without an end, a device has none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe without NONBLOCK waits for a writer
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device")
        return file.read()
