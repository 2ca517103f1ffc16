"""Drawing the edges of masks to the photo's, after any method."""
