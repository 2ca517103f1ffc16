"""A trained encoder for other programs: a Hugging Face folder, graphs, an MLflow model, an index of objects."""
