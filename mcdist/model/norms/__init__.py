"""Normalisation layers: converting a network's BatchNorm layers, and batch statistics that span the ranks."""
