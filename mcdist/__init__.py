"""mcdist: dense representations without labels, from photos and object-mask proposals (MaskContrast), from one laptop to a cluster."""

__version__ = "0.1.0"
