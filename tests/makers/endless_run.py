"""A configuration small enough for any test, of a run that goes on until it is stopped."""

CONFIG = """
data: {num_workers: 1, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 100000, lr: 0.05}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off", log_every_steps: 1}
"""
