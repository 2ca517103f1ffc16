"""mcdist: dense representations without labels, from images and object-mask proposals. Reading starts in `mcdist/run.py`."""
