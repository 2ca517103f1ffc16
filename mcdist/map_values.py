"""The two values of an instance map that are no object. Without torch, so that small programs may know them."""

BACKGROUND = 0
"""Instance map value of background."""

VOID = -1
"""Instance map value of pixels that are neither an object nor background."""
