"""What somebody without mcdist does: read a .beton with FFCV's own Loader. A script: python plain_ffcv.py FILE CACHE OUT.npz."""

import json
import sys
import warnings
from typing import Any

import numpy

warnings.simplefilter("ignore")  # FFCV and numba warn of their own affairs
from ffcv.fields import JSONField  # noqa: E402
from ffcv.loader import Loader, OrderOption  # noqa: E402


def main() -> None:
    """Save photos, map files and keys of all rows, in order."""
    path, cache, out = sys.argv[1:]
    loader = Loader(path, batch_size=2, num_workers=1, order=OrderOption.SEQUENTIAL, os_cache=cache == "os")
    names = list(loader.pipeline_specs)
    rows: dict[str, list] = {name: [] for name in names}
    for batch in loader:
        for name, part in zip(names, batch, strict=True):
            rows[name].extend(JSONField.unpack(part) if name in ("key", "json") else part.clone().numpy())
    texts = {name: json.dumps(rows.pop(name)) for name in ("key", "json")}
    arrays: dict[str, Any] = {name: numpy.stack(values) for name, values in rows.items()}
    numpy.savez(out, **arrays | texts)


if __name__ == "__main__":
    main()
