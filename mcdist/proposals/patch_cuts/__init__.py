"""On the features of patches: LOST, TokenCut, deep spectral and FOUND-style cuts, on any ViT."""
