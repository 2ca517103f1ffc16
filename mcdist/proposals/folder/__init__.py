"""A folder of photos becomes a folder of masks, whatever happens on the way."""
