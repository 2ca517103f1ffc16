"""K-means in numpy: the definition, and what computes it where no compiler is. The same draws, starts, exchanges and ends as native.cpp, up to rounding."""

import numpy
from jaxtyping import Float, Float32, Float64, Int64

from mcdist.ops.kmeans.plan import Plan

NUM_TURNS = 4
"""As in native.cpp: towards the direction in which a cluster is longest, and then of its two means."""
LEAST_GAIN = 1e-6

Vectors = Float64[numpy.ndarray, "N D"]
Centres = Float64[numpy.ndarray, "K D"]


def cluster_reference(vectors: Float32[numpy.ndarray, "N D"], *, plan: Plan) -> tuple[Float32[numpy.ndarray, "K D"], float]:
    """(centres, sum of squared distances)."""
    points = vectors.astype(numpy.float64)
    begun = [_lloyd(points, _seeded(points[plan.sample], draws=draws), most=min(plan.first_iterations, plan.num_iterations), plan=plan) for draws in plan.draws]
    kept = sorted(begun, key=lambda centres: _objective(points, centres))[: plan.num_kept]
    ended = [_exchanged(points, _lloyd(points, centres, most=plan.num_iterations, plan=plan), plan=plan) for centres in kept]
    best = min(ended, key=lambda centres: _objective(points, centres))
    centres = _lloyd(points, best, most=plan.num_iterations, plan=None)
    return centres.astype(numpy.float32), _objective(points, centres)


def _squared(points: Vectors, centres: Centres) -> Float64[numpy.ndarray, "N K"]:
    products = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
    return numpy.maximum(products, 0)


def _objective(points: Vectors, centres: Centres) -> float:
    return float(_squared(points, centres).min(axis=1).sum())


def _seeded(sample: Vectors, *, draws: Float64[numpy.ndarray, "K T"]) -> Centres:
    """Greedy k-means++ (Arthur and Vassilvitskii, SODA 2007): of several vectors drawn by squared distance, the one that leaves the least sum."""
    rows = [min(len(sample) - 1, int(draws[0, 0] * len(sample)))]
    nearest = _squared(sample, sample[rows])[:, 0]
    for drawn in draws[1:]:
        candidates = numpy.minimum(numpy.searchsorted(numpy.cumsum(nearest), drawn * nearest.sum(), side="right"), len(sample) - 1)
        left = numpy.minimum(nearest[:, None], _squared(sample, sample[candidates]))
        best = int(left.sum(axis=0).argmin())
        rows.append(int(candidates[best]))
        nearest = left[:, best]
    return sample[rows]


def _lloyd(points: Vectors, centres: Centres, *, most: int, plan: Plan | None) -> Centres:
    """Until nothing moves, or, by a plan, the centres move by no more than its `least_shift`."""
    own = _squared(points, centres).argmin(axis=1)
    for _ in range(most):
        own = _refilled(points, centres, own=own)
        moved = _means(points, own=own, before=centres)
        shift, centres = float(((moved - centres) ** 2).sum()), moved
        now = _squared(points, centres).argmin(axis=1)
        if (now == own).all() or (plan is not None and shift <= plan.least_shift):
            break
        own = now
    return centres


def _means(points: Vectors, *, own: Int64[numpy.ndarray, " N"], before: Centres) -> Centres:
    sizes = numpy.bincount(own, minlength=len(before))
    sums = numpy.zeros_like(before)
    numpy.add.at(sums, own, points)
    return numpy.where(sizes[:, None] > 0, sums / numpy.maximum(sizes, 1)[:, None], before)


def _refilled(points: Vectors, centres: Centres, *, own: Int64[numpy.ndarray, " N"]) -> Int64[numpy.ndarray, " N"]:
    """An empty cluster takes the vector that is farthest from its own centre."""
    own = own.copy()
    far = ((points - centres[own]) ** 2).sum(axis=1)
    for empty in numpy.flatnonzero(numpy.bincount(own, minlength=len(centres)) == 0):
        far[numpy.bincount(own, minlength=len(centres))[own] < 2] = 0
        farthest = int(far.argmax())
        if far[farthest] > 0:
            own[farthest], far[farthest] = empty, 0
    return own


def _exchanged(points: Vectors, centres: Centres, *, plan: Plan) -> Centres:
    for _ in range(plan.num_exchanges):
        exchanged = _exchange(points, centres)
        if exchanged is None:
            break
        centres = _lloyd(points, exchanged, most=plan.num_iterations, plan=plan)
    return centres


def _exchange(points: Vectors, centres: Centres) -> Centres | None:
    """Merge clusters that are nearly one and split others instead, where that lowers the objective; None where it does not."""
    own, num = _squared(points, centres).argmin(axis=1), len(centres)
    sizes = numpy.bincount(own, minlength=num)
    splits = [_split(points[own == cluster], centres[cluster]) for cluster in range(num)]
    costs = sizes[:, None] * sizes / numpy.maximum(1, sizes[:, None] + sizes) * _squared(centres, centres)
    costs[numpy.triu_indices(num)] = numpy.inf
    other = costs.argmin(axis=1)
    cost = costs[numpy.arange(num), other]
    by_gain = sorted(range(num), key=lambda cluster: -splits[cluster][0])
    moved, taken = centres.copy(), set[int]()
    for one in numpy.argsort(cost, kind="stable").tolist():
        pair = {one, int(other[one])}
        if pair & taken:
            continue
        halved = next((cluster for cluster in by_gain if cluster not in taken | pair), None)
        if halved is None or not splits[halved][0] > cost[one] * (1 + LEAST_GAIN):
            break
        moved[one] = (sizes[one] * centres[one] + sizes[other[one]] * centres[other[one]]) / max(1, sizes[one] + sizes[other[one]])
        moved[other[one]], moved[halved] = splits[halved][1]
        taken |= pair | {halved}
    return moved if taken else None


def _split(members: Vectors, centre: Float[numpy.ndarray, " D"]) -> tuple[float, Float64[numpy.ndarray, "2 D"]]:
    """(by how much the objective falls, both means) where a cluster is cut across its longest direction, then by its two means."""
    gain, means = 0.0, numpy.stack([centre, centre])
    if len(members) < 2:
        return gain, means
    apart = members - centre
    direction = apart[(apart**2).sum(axis=1).argmax()]
    for _ in range(NUM_TURNS):
        longer = apart.T @ (apart @ direction)
        length = float(numpy.linalg.norm(longer))
        if not length > 0:
            break
        direction = longer / length
    border = centre @ direction
    for _ in range(NUM_TURNS):
        beyond = members @ direction > border
        if beyond.all() or not beyond.any():
            break
        means = numpy.stack([members[~beyond].mean(axis=0), members[beyond].mean(axis=0)])
        direction = means[1] - means[0]
        border = means.mean(axis=0) @ direction
        gain = float((~beyond).sum() * beyond.sum() / len(members) * (direction @ direction))
    return gain, means
