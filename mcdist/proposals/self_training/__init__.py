"""By a small network of our own that learned from other methods' masks, and how it learns."""
