"""Frames of a video, made for the tests of motion: a textured square that moves over a texture of the same colours, so that no single frame shows it."""

import numpy
from scipy import ndimage

SIDE_PX = 44


def texture(*, height: int, width: int, seed: int) -> numpy.ndarray:
    """Grey-green blobs of a few px, `[height, width, 3]` in 0..255."""
    noise = ndimage.gaussian_filter(numpy.random.default_rng(seed).normal(0, 1, (height, width, 3)), (1.5, 1.5, 0))
    return numpy.clip(numpy.array([110, 125, 105]) + 45 * noise / noise.std(), 0, 255)


def moving_square(*, num: int = 4, step_px: int = 6, pan_px: int = 0, width: int = 160, height: int = 120) -> tuple[list[numpy.ndarray], list[numpy.ndarray]]:
    """(frames `[H, W, 3]`, where the square is in each): it goes to the right by `step_px` a frame while the camera goes to the left by `pan_px`."""
    ground, square = texture(height=height, width=width + pan_px * num, seed=0), texture(height=SIDE_PX, width=SIDE_PX, seed=1)
    frames, truths = [], []
    for number in range(num):
        begin = pan_px * (num - 1 - number)
        frame, truth = ground[:, begin : begin + width].copy(), numpy.zeros((height, width), dtype=bool)
        place = numpy.s_[40 : 40 + SIDE_PX, 50 + step_px * number : 50 + step_px * number + SIDE_PX]
        frame[place], truth[place] = square, True
        frames.append(frame.astype(numpy.uint8))
        truths.append(truth)
    return frames, truths
