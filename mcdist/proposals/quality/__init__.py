"""How good masks are, with ground truth and without."""
