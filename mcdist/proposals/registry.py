"""Registry: method names to their makers, imported only when asked for. Other packages add theirs as entry points of the group `mcdist.proposals`.

An entry point is `NAME = package.module:make`. Its `make(*, device, **options) -> Method` has a default for every option: the defaults' types are those
that `--option key=value` is read as.
"""

import difflib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from mcdist.errors import ConfigError
from mcdist.proposals.proposal import Method

GROUP = "mcdist.proposals"

Maker = Callable[..., Method]

ROOMS: dict[str, dict[str, str]] = {
    "": {
        "files": "masks or saliency maps already on disk: PNG, NPY, COCO run lengths (--option masks=DIR)",
    },
    "classical": {
        "ensemble": "the classical saliency methods together, and a colour model of what they agree on: the one to begin with",
        "motion": "what moves against the background and stands out, in the frames of a video: a folder's photos together",
        "background_detection": "saliency optimisation from robust background detection (Zhu et al., CVPR 2014)",
        "barrier_distance": "minimum barrier distance to the border (Zhang et al., ICCV 2015)",
        "manifold_ranking": "graph-based manifold ranking of superpixels (Yang et al., CVPR 2013)",
        "frequency_tuned": "distance to the mean colour (Achanta et al., CVPR 2009); a baseline",
        "spectral_residual": "what a smooth spectrum does not explain (Hou and Zhang, CVPR 2007); a baseline",
        "felzenszwalb": "graph-based segmentation (Felzenszwalb and Huttenlocher, IJCV 2004); several objects",
        "hierarchy": "hierarchical region merging, the paper's 'boundary' prior; several objects",
    },
    "patch_cuts": {
        "lost": "LOST on the patch features of a ViT, or of another backbone (--option weights=FILE)",
        "tokencut": "TokenCut, or MaskCut for several objects, on patch features",
        "deep_spectral": "deep spectral segmentation of patch features",
        "found": "FOUND-style: what is unlike the background, on patch features",
    },
    "networks": {
        "saliency_network": "any trained saliency network, ONNX or TorchScript (--option network=FILE)",
        "sam": "automatic masks of Segment Anything 1 or 2 (--option weights=FILE)",
    },
    "self_training": {
        "self_trained": "the network that mcdist proposals self-train wrote (--option network=FILE)",
    },
}
"""The methods of this package: the folder each is a module of, here or below, and what it is in one line."""

BUILT_IN = {name: what for methods in ROOMS.values() for name, what in methods.items()}


def names() -> dict[str, str]:
    """Every method that can be named, with what it is in one line."""
    others = {point.name: f"from {point.value}" for point in _entry_points() if point.name not in BUILT_IN}
    return {**BUILT_IN, **dict(sorted(others.items()))}


def find_maker(name: str) -> Maker:
    """The maker of a method.

    Raises:
        ConfigError: no method has that name, or its package does not load.
        MissingExtraError: it needs a package that is not installed.
    """
    if name in BUILT_IN:
        (room,) = (room for room, methods in ROOMS.items() if name in methods)
        return cast(Maker, importlib.import_module(f"mcdist.proposals.{f'{room}.{name}' if room else name}").make)
    for point in _entry_points():
        if point.name == name:
            try:
                return cast(Maker, point.load())
            except (ImportError, AttributeError) as error:
                raise ConfigError(f"the proposal method {name} ({point.value}) does not load: {error}; install its package again") from error
    raise ConfigError(f"no proposal method is called {name!r}{_nearest(name, list(names()))}; methods: {', '.join(names())}")


def make_method(name: str, *, device: str = "cpu", options: Mapping[str, str] | None = None) -> Method:
    """The method, ready to be called. `options` as they were typed; each is read as the type of the maker's default.

    Raises:
        ConfigError: no such method or option, or a value of another type.
        MissingExtraError: it needs a package that is not installed.
    """
    maker = find_maker(name)
    offered = {key: value for key, value in inspect.signature(maker).parameters.items() if key != "device" and value.kind is not value.VAR_KEYWORD}
    given = {}
    for key, text in (options or {}).items():
        if key not in offered:
            raise ConfigError(f"the proposal method {name} has no option {key!r}{_nearest(key, list(offered))}; options: {', '.join(offered) or 'none'}")
        given[key] = _read(text, default=offered[key].default, key=f"{name}: {key}")
    return maker(device=device, **given)


def options_of(name: str) -> dict[str, Any]:
    """The options of a method with their defaults."""
    parameters = inspect.signature(find_maker(name)).parameters
    return {key: value.default for key, value in parameters.items() if key != "device" and value.kind is not value.VAR_KEYWORD}


def _entry_points() -> list[Any]:
    """Of importlib.metadata's class, or of the package importlib_metadata's own: where that is imported (mlflow does), it finds distributions too."""
    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _read(text: str, *, default: Any, key: str) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{key} must be true or false, got {text!r}")
        return text.lower() == "true"
    for kind, wanted in ((int, "a whole number"), (float, "a number")):
        if type(default) is kind:
            try:
                return kind(text)
            except ValueError as error:
                raise ConfigError(f"{key} must be {wanted}, got {text!r}") from error
    return text
