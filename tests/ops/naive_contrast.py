"""The truth for the operators: float64 loops over pixels in plain Python, with their own bilinear formula. Slow and independent."""

import math

import numpy as np


def pixel_vector(features_Dhw: np.ndarray, row: int, column: int, stride: int) -> np.ndarray:
    """The embedding of one pixel: tent weights of all feature centres, those beyond the border counted for the border."""
    D, h, w = features_Dhw.shape
    centre_y, centre_x = (row + 0.5) / stride - 0.5, (column + 0.5) / stride - 0.5
    vector = np.zeros(D)
    for y in range(-1, h + 1):
        for x in range(-1, w + 1):
            weight = max(0.0, 1 - abs(centre_y - y)) * max(0.0, 1 - abs(centre_x - x))
            if weight > 0:
                vector += weight * features_Dhw[:, min(max(y, 0), h - 1), min(max(x, 0), w - 1)]
    return vector


def unit_pixel(features_Dhw: np.ndarray, row: int, column: int, stride: int) -> np.ndarray:
    """The same, of length one."""
    vector = pixel_vector(features_Dhw, row, column, stride)
    return vector / max(math.sqrt(float(vector @ vector)), 1e-12)


def naive_pool(features: np.ndarray, instances: np.ndarray, max_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """(prototypes, num_pixels), one pixel after the other."""
    B, D = features.shape[:2]
    stride = instances.shape[1] // features.shape[2]
    sums, counts = np.zeros((B * max_objects, D)), np.zeros(B * max_objects, dtype=np.int64)
    for b, row, column in np.ndindex(*instances.shape):
        instance = int(instances[b, row, column])
        if 1 <= instance <= max_objects:
            sums[b * max_objects + instance - 1] += unit_pixel(features[b], row, column, stride)
            counts[b * max_objects + instance - 1] += 1
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), counts


def naive_contrast(
    features: np.ndarray,
    instances: np.ndarray,
    prototypes: np.ndarray,
    bank: np.ndarray,
    *,
    temperature: float,
    target_of: np.ndarray,
    prototype_valid: np.ndarray | None = None,
    bank_valid_rows: int | None = None,
    target_weight: np.ndarray | None = None,
    weight_sum: float | None = None,
    false_negative_cosine: float | None = None,
) -> tuple[float, int, int]:
    """(loss, correct, num_pixels) by the sentences of the design, one pixel and one candidate after the other."""
    stride = instances.shape[1] // features.shape[2]
    valid = [True] * len(prototypes) if prototype_valid is None else [bool(v) for v in prototype_valid]
    rows = len(bank) if bank_valid_rows is None else bank_valid_rows
    pixels = []
    for b, row, column in np.ndindex(*instances.shape):
        instance = int(instances[b, row, column])
        target = int(target_of[b, instance - 1]) if 1 <= instance <= target_of.shape[1] else -1
        if 0 <= target < len(prototypes) and valid[target]:
            pixels.append((b, row, column, target))
    counts = [sum(1 for pixel in pixels if pixel[3] == j) for j in range(len(prototypes))]
    total, divisor, correct = 0.0, 0.0, 0
    for b, row, column, target in pixels:
        vector = unit_pixel(features[b], row, column, stride)
        seen = []
        for j, candidate in enumerate([*prototypes, *bank]):
            known = valid[j] if j < len(prototypes) else j - len(prototypes) < rows
            too_close = false_negative_cosine is not None and float(candidate @ prototypes[target]) > false_negative_cosine
            if j == target or (known and not too_close):
                seen.append((float(vector @ candidate) / temperature, j))
        own = float(vector @ prototypes[target]) / temperature
        top = max(logit for logit, _ in seen)
        weight = 1 / math.log(1.02 + counts[target] / len(pixels)) if target_weight is None else float(target_weight[target])
        total += weight * (top + math.log(sum(math.exp(logit - top) for logit, _ in seen)) - own)
        divisor += weight
        correct += next(j for logit, j in seen if logit == top) == target
    divisor = divisor if weight_sum is None else weight_sum
    return (total / divisor if divisor else 0.0), correct, len(pixels)


def naive_saliency(logits: np.ndarray, instances: np.ndarray) -> float:
    """Balanced binary cross-entropy, one pixel after the other."""
    stride = instances.shape[1] // logits.shape[2]
    positive, negative = int((instances >= 1).sum()), int((instances == 0).sum())
    total = 0.0
    for b, row, column in np.ndindex(*instances.shape):
        instance = int(instances[b, row, column])
        logit = float(pixel_vector(logits[b], row, column, stride)[0])
        probability = 1 / (1 + math.exp(-logit))
        if instance >= 1:
            total -= negative / (positive + negative) * math.log(probability)
        elif instance == 0:
            total -= positive / (positive + negative) * math.log(1 - probability)
    return total / max(positive + negative, 1)
