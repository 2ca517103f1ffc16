"""Chaos: what writes files is struck at seeded random points, and must end with the undisturbed result, or with one sentence and go on to it."""
