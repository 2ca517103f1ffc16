"""Without any trained weights: what stands out from a photo's borders, what regions it has, what moves in a video."""
