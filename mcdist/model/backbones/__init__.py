"""Networks that turn a photo into a grid of features: one protocol, CNNs and ViTs alike, found by name in the registry."""
