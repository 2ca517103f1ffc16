// K-means on a CPU: see kmeans/op.py for what it computes, and kmeans/reference.py for the same in numpy.
//
// Vectors are kept in blocks, one vector to a lane: block b holds dimension d of its vectors side by side. A centre's number is then
// broadcast to all lanes, and the nearest centre of each vector comes out in its lane, without any sum across lanes.
//
// A vector is compared with the centres only where two bounds say that it must be (Hamerly, SDM 2010): an upper one of the distance to its
// own centre, and a lower one of that to every other centre. Both are moved by as much as the centres move. The result is that of Lloyd's
// method, up to rounding.
#include "../cells.h"

#include <functional>
#include <numeric>

namespace mcdist {
namespace {

typedef Lanes<float>::vector Vector;
typedef Lanes<float>::integers Integers;
constexpr int64_t LANES = Lanes<float>::count;
constexpr int TILE = VECTOR_BYTES == 64 ? 8 : 6;  // centres at a time: as many sums as fit the registers
constexpr int64_t FEW_CENTRES = 32;               // below, comparing with all costs no more than finding out that it can be left out
constexpr int64_t BLOCKS_AT_ONCE = 64;            // of a thread; moved vectors are added up in their order, whatever thread found them

struct Points {
    int64_t num, num_dims, num_blocks;
    const float* rows_ND;
    Aligned<Vector> blocks;   // [num_blocks][num_dims]
    Aligned<Vector> squares;  // |x|^2
    double all_squares = 0;

    Points(const float* rows_ND, int64_t num, int64_t num_dims)
        : num(num), num_dims(num_dims), num_blocks((num + LANES - 1) / LANES), rows_ND(rows_ND), blocks(num_blocks * num_dims), squares(num_blocks) {
        for (int64_t b = 0; b < num_blocks; ++b) {
            Vector square{};
            for (int64_t d = 0; d < num_dims; ++d) {
                Vector x{};
                for (int64_t lane = 0; lane < here(b); ++lane) x[lane] = rows_ND[(b * LANES + lane) * num_dims + d];
                blocks[b * num_dims + d] = x, square += x * x;
            }
            squares[b] = square;
            for (int64_t lane = 0; lane < here(b); ++lane) all_squares += square[lane];
        }
    }
    int64_t here(int64_t b) const { return std::min(LANES, num - b * LANES); }
};

// The nearest centre of each lane's vector, and the next: the largest of x . c - |c|^2 / 2.
struct Nearest {
    Vector best, next;
    Integers centre, next_centre;

    void begin() { best = next = Vector{} - INFINITY, centre = next_centre = Integers{}; }
    void take(Vector score, int32_t number) {
        const auto better = score > best;
        const Vector lower = better ? best : score;
        const Integers loser = better ? centre : Integers{} + number;
        next_centre = lower > next ? loser : next_centre;
        next = lower > next ? lower : next;
        centre = better ? Integers{} + number : centre;
        best = better ? score : best;
    }
};

template <int COUNT>
inline void take_tile(const Vector* x, int64_t num_dims, const float* centres, const float* halves, int64_t first, Nearest& nearest) {
    Vector sums[COUNT];
    for (int t = 0; t < COUNT; ++t) sums[t] = Vector{} - halves[first + t];
    for (int64_t d = 0; d < num_dims; ++d)
        for (int t = 0; t < COUNT; ++t) sums[t] += x[d] * centres[(first + t) * num_dims + d];
    for (int t = 0; t < COUNT; ++t) nearest.take(sums[t], int32_t(first + t));
}

inline void take_rest(const Vector* x, int64_t num_dims, const float* centres, const float* halves, int64_t first, int64_t count, Nearest& nearest) {
    switch (count) {
        case 1: return take_tile<1>(x, num_dims, centres, halves, first, nearest);
        case 2: return take_tile<2>(x, num_dims, centres, halves, first, nearest);
        case 3: return take_tile<3>(x, num_dims, centres, halves, first, nearest);
        case 4: return take_tile<4>(x, num_dims, centres, halves, first, nearest);
        case 5: return take_tile<5>(x, num_dims, centres, halves, first, nearest);
        case 6: return take_tile<6>(x, num_dims, centres, halves, first, nearest);
        case 7: return take_tile<7>(x, num_dims, centres, halves, first, nearest);
        default: return;
    }
}

struct Centres {
    int64_t count, num_dims;
    std::vector<float> values, halves;  // halves: |c|^2 / 2

    Centres(int64_t count, int64_t num_dims) : count(count), num_dims(num_dims), values(count * num_dims), halves(count) {}
    void measure() {
        for (int64_t k = 0; k < count; ++k) {
            float square = 0;
            for (int64_t d = 0; d < num_dims; ++d) square += values[k * num_dims + d] * values[k * num_dims + d];
            halves[k] = square / 2;
        }
    }
    Nearest nearest(const Vector* x) const {
        Nearest found;
        found.begin();
        int64_t k = 0;
        for (; k + TILE <= count; k += TILE) take_tile<TILE>(x, num_dims, values.data(), halves.data(), k, found);
        take_rest(x, num_dims, values.data(), halves.data(), k, count - k, found);
        return found;
    }
};

inline float distance_squared(const float* a, const float* b, int64_t num_dims) {
    float partial[8] = {};
    int64_t d = 0;
    for (; d + 8 <= num_dims; d += 8)
        for (int k = 0; k < 8; ++k) partial[k] += (a[d + k] - b[d + k]) * (a[d + k] - b[d + k]);
    float total = 0;
    for (; d < num_dims; ++d) total += (a[d] - b[d]) * (a[d] - b[d]);
    for (int k = 0; k < 8; ++k) total += partial[k];
    return total;
}

// One start: its centres, and which centre each vector is nearest to. Sums are of double: adding a vector and taking it away again leaves no
// trace that counts.
struct Start {
    Centres centres;
    std::vector<int32_t> cluster;
    std::vector<float> upper, lower;
    std::vector<double> sums;
    std::vector<int64_t> sizes;
    double objective = INFINITY;
    int64_t num_passes = 0;
    bool is_new = true, settled = false;

    Start(const Points& points, int64_t num_clusters)
        : centres(num_clusters, points.num_dims),
          cluster(points.num, -1),
          upper(points.num),
          lower(points.num),
          sums(num_clusters * points.num_dims),
          sizes(num_clusters) {}

    // Anew, from the centres as they are.
    void begin() {
        std::fill(cluster.begin(), cluster.end(), -1), std::fill(sums.begin(), sums.end(), 0.0), std::fill(sizes.begin(), sizes.end(), 0);
        is_new = true, settled = false;
    }
};

// A vector that is nearest to another centre than before.
struct Move {
    int64_t point;
    int32_t from, to;
};

class Lloyd {
  public:
    Lloyd(const Points& points, int num_threads) : points_(points), num_threads_(num_threads) {}

    // Passes until nothing moves, or the centres move by no more than `least`, the sum of their squared shifts, or `most` passes are done.
    void run(Start& start, int64_t most, double least) const {
        Centres& centres = start.centres;
        if (start.is_new) {
            centres.measure();
            assign(start, true);
            start.is_new = false;
        }
        while (start.num_passes < most && !start.settled) {
            refill(start);
            const double moved = move_centres(start);
            ++start.num_passes;
            if (assign(start, false) == 0) start.settled = true;
            if (moved <= least) break;
        }
        const int64_t D = points_.num_dims;
        double explained = 0;
        for (int64_t k = 0; k < centres.count; ++k)
            for (int64_t d = 0; d < D; ++d)
                if (start.sizes[k]) explained += start.sums[k * D + d] * start.sums[k * D + d] / double(start.sizes[k]);
        start.objective = points_.all_squares - explained;
    }

  private:
    const Points& points_;
    const int num_threads_;

    // Each vector to its nearest centre; returns how many changed. The first pass compares all with all.
    int64_t assign(Start& start, bool first) const {
        const int64_t num_strips = (points_.num_blocks + BLOCKS_AT_ONCE - 1) / BLOCKS_AT_ONCE;
        std::vector<std::vector<Move>> moves(num_strips);
        std::vector<float> apart = first ? std::vector<float>() : half_gaps(start.centres);
        const auto assign_strip = [&](size_t s) {
            Strip strip{points_, start, apart, moves[s]};
            strip.run(int64_t(s) * BLOCKS_AT_ONCE, std::min(points_.num_blocks, int64_t(s + 1) * BLOCKS_AT_ONCE), first);
        };
        if (num_threads_ == 1) {
            for (int64_t s = 0; s < num_strips; ++s) assign_strip(size_t(s));
        } else if (!in_parallel(size_t(num_strips), num_threads_, assign_strip)) {
            throw std::bad_alloc();
        }
        int64_t num_moves = 0;
        for (const auto& of_strip : moves) {
            for (const Move& move : of_strip) add(start, move);
            num_moves += int64_t(of_strip.size());
        }
        return num_moves;
    }

    void add(Start& start, const Move& move) const {
        const int64_t D = points_.num_dims;
        const float* x = points_.rows_ND + move.point * D;
        double* to = start.sums.data() + move.to * D;
        if (move.from >= 0) {
            double* from = start.sums.data() + move.from * D;
            for (int64_t d = 0; d < D; ++d) from[d] -= x[d];
            --start.sizes[move.from];
        }
        for (int64_t d = 0; d < D; ++d) to[d] += x[d];
        ++start.sizes[move.to];
    }

    struct Strip {
        const Points& points;
        Start& start;
        const std::vector<float>& apart;
        std::vector<Move>& moves;

        void run(int64_t first_block, int64_t end, bool all) {
            const int64_t D = points.num_dims;
            Aligned<Vector> gathered(D);
            int64_t waiting[LANES], num_waiting = 0;
            for (int64_t b = first_block; b < end; ++b) {
                int64_t active[LANES], num_active = 0;
                for (int64_t lane = 0; lane < points.here(b); ++lane)
                    if (all || is_open(b * LANES + lane)) active[num_active++] = b * LANES + lane;
                if (num_active * 2 > LANES) {
                    const Nearest found = start.centres.nearest(points.blocks.get() + b * D);
                    for (int64_t k = 0; k < num_active; ++k) settle(active[k], found, active[k] - b * LANES);
                    continue;
                }
                for (int64_t k = 0; k < num_active; ++k) {
                    waiting[num_waiting++] = active[k];
                    if (num_waiting == LANES) compare(waiting, num_waiting, gathered), num_waiting = 0;
                }
            }
            if (num_waiting) compare(waiting, num_waiting, gathered);
            std::sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) { return a.point < b.point; });
        }

        // Whether another centre may be nearer.
        bool is_open(int64_t point) {
            const int32_t own = start.cluster[point];
            const float bound = std::max(start.lower[point], apart[own]);
            if (start.upper[point] < bound) return false;
            if (start.centres.count < FEW_CENTRES) return true;
            const int64_t D = points.num_dims;
            start.upper[point] = std::sqrt(distance_squared(points.rows_ND + point * D, start.centres.values.data() + own * D, D));
            return start.upper[point] >= bound;
        }

        void compare(const int64_t* some, int64_t count, Aligned<Vector>& gathered) {
            const int64_t D = points.num_dims;
            float* to = reinterpret_cast<float*>(gathered.get());
            for (int64_t lane = 0; lane < count; ++lane) {
                const float* x = points.rows_ND + some[lane] * D;
                for (int64_t d = 0; d < D; ++d) to[d * LANES + lane] = x[d];
            }
            const Nearest found = start.centres.nearest(gathered.get());
            for (int64_t lane = 0; lane < count; ++lane) settle(some[lane], found, lane);
        }

        void settle(int64_t point, const Nearest& found, int64_t lane) {
            const float square = points.squares[point / LANES][point % LANES];
            start.upper[point] = std::sqrt(std::max(0.0f, square - 2 * found.best[lane]));
            start.lower[point] = std::sqrt(std::max(0.0f, square - 2 * found.next[lane]));
            const int32_t before = start.cluster[point], now = found.centre[lane];
            if (now != before) moves.push_back({point, before, now}), start.cluster[point] = now;
        }
    };

    // Of each centre half the distance to the nearest other one.
    static std::vector<float> half_gaps(const Centres& centres) {
        std::vector<float> gaps(centres.count, INFINITY);
        const int64_t D = centres.num_dims;
        for (int64_t k = 0; k < centres.count; ++k)
            for (int64_t j = 0; j < k; ++j) {
                const float squared = distance_squared(centres.values.data() + k * D, centres.values.data() + j * D, D);
                gaps[k] = std::min(gaps[k], squared), gaps[j] = std::min(gaps[j], squared);
            }
        for (float& gap : gaps) gap = std::sqrt(gap) / 2;
        return gaps;
    }

    // An empty cluster takes the vector that is farthest from its own centre, unless all are where their centres are.
    void refill(Start& start) const {
        const int64_t D = points_.num_dims;
        for (int64_t empty = 0; empty < start.centres.count; ++empty) {
            if (start.sizes[empty]) continue;
            int64_t farthest = -1;
            float most = 0;
            for (int64_t i = 0; i < points_.num; ++i) {
                if (start.sizes[start.cluster[i]] < 2) continue;
                const float squared = distance_squared(points_.rows_ND + i * D, start.centres.values.data() + start.cluster[i] * D, D);
                if (squared > most) most = squared, farthest = i;
            }
            if (farthest < 0) return;
            const Move move{farthest, start.cluster[farthest], int32_t(empty)};
            add(start, move);
            start.cluster[farthest] = int32_t(empty), start.upper[farthest] = INFINITY, start.lower[farthest] = 0;
            std::copy_n(points_.rows_ND + farthest * D, D, start.centres.values.data() + empty * D);
        }
    }

    // The centres to the means of their vectors, and the bounds with them; returns the sum of squared shifts.
    double move_centres(Start& start) const {
        Centres& centres = start.centres;
        const int64_t D = points_.num_dims;
        std::vector<float> shifts(centres.count);
        double total = 0;
        for (int64_t k = 0; k < centres.count; ++k) {
            if (!start.sizes[k]) continue;
            double squared = 0;
            for (int64_t d = 0; d < D; ++d) {
                float& value = centres.values[k * D + d];
                const float mean = float(start.sums[k * D + d] / double(start.sizes[k]));
                squared += double(mean - value) * double(mean - value), value = mean;
            }
            shifts[k] = float(std::sqrt(squared)), total += squared;
        }
        centres.measure();
        int64_t farthest = std::max_element(shifts.begin(), shifts.end()) - shifts.begin();
        float next = 0;
        for (int64_t k = 0; k < centres.count; ++k)
            if (k != farthest) next = std::max(next, shifts[k]);
        for (int64_t i = 0; i < points_.num; ++i) {
            const int32_t own = start.cluster[i];
            start.upper[i] += shifts[own], start.lower[i] -= own == farthest ? next : shifts[farthest];
        }
        return total;
    }
};

inline float sum_of_lanes(Vector v) {
    float lanes[LANES];
    std::memcpy(lanes, &v, sizeof lanes);
    for (int64_t half = LANES / 2; half; half /= 2)
        for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

// The first centres: k-means++ (Arthur and Vassilvitskii, SODA 2007), greedy: of several vectors drawn by their squared distance to the
// centres so far, the one that leaves the least sum of them. `draws [K][trials]` in 0..1.
class Seeding {
  public:
    Seeding(const Points& points, int64_t num_trials)
        : points_(points), num_trials_(num_trials), nearest_(points.num_blocks), distances_(points.num_blocks * num_trials), group_sums_(num_groups()) {
        for (int64_t b = 0; b < points.num_blocks; ++b)
            for (int64_t lane = 0; lane < LANES; ++lane) nearest_[b][lane] = lane < points.here(b) ? INFINITY : 0.0f;  // beyond the last: no share
    }

    void draw(const double* draws, Centres& centres) {
        const int64_t D = points_.num_dims;
        for (int64_t k = 0; k < centres.count; ++k) {
            const int64_t count = k ? num_trials_ : 1;
            std::vector<int64_t> drawn(count);
            for (int64_t t = 0; t < count; ++t) drawn[t] = k ? by_distance(draws[k * num_trials_ + t]) : std::min(points_.num - 1, int64_t(draws[0] * points_.num));
            const int64_t best = least(drawn);
            std::copy_n(points_.rows_ND + drawn[best] * D, D, centres.values.data() + k * D);
            keep(best, count);
        }
    }

  private:
    static constexpr int64_t GROUP = 16;  // blocks whose sum is kept
    const Points& points_;
    const int64_t num_trials_;
    Aligned<Vector> nearest_, distances_;
    std::vector<double> group_sums_;

    int64_t num_groups() const { return (points_.num_blocks + GROUP - 1) / GROUP; }

    int64_t by_distance(double draw) const {
        double left = 0;
        for (double sum : group_sums_) left += sum;
        left *= draw;
        int64_t group = 0;
        while (group + 1 < num_groups() && left >= group_sums_[group]) left -= group_sums_[group++];
        int64_t point = group * GROUP * LANES;
        const int64_t last = std::min(points_.num, (group + 1) * GROUP * LANES) - 1;
        while (point < last && left >= nearest_[point / LANES][point % LANES]) left -= nearest_[point / LANES][point % LANES], ++point;
        return point;
    }

    int64_t least(const std::vector<int64_t>& drawn) {
        std::vector<double> totals(drawn.size());
        int64_t t = 0;
        for (; t + 4 <= int64_t(drawn.size()); t += 4) measure<4>(drawn, t, totals);
        switch (int64_t(drawn.size()) - t) {
            case 1: measure<1>(drawn, t, totals); break;
            case 2: measure<2>(drawn, t, totals); break;
            case 3: measure<3>(drawn, t, totals); break;
            default: break;
        }
        return std::min_element(totals.begin(), totals.end()) - totals.begin();
    }

    // Two blocks at a time: that many sums hide how long a multiplication takes.
    template <int COUNT>
    void measure(const std::vector<int64_t>& drawn, int64_t first, std::vector<double>& totals) {
        const int64_t D = points_.num_dims, stride = int64_t(drawn.size());
        std::vector<float> rows(COUNT * D);
        float squares[COUNT];
        for (int t = 0; t < COUNT; ++t) {
            const int64_t point = drawn[first + t];
            for (int64_t d = 0; d < D; ++d) rows[d * COUNT + t] = points_.rows_ND[point * D + d];
            squares[t] = points_.squares[point / LANES][point % LANES];
        }
        for (int64_t group = 0; group < num_groups(); ++group) {
            Vector sums[COUNT] = {};
            const int64_t end = std::min(points_.num_blocks, (group + 1) * GROUP);
            for (int64_t b = group * GROUP; b < end; b += 2) {
                const int64_t other = std::min(b + 1, end - 1);
                const Vector *x = points_.blocks.get() + b * D, *y = points_.blocks.get() + other * D;
                Vector one[COUNT] = {}, two[COUNT] = {};
                for (int64_t d = 0; d < D; ++d)
                    for (int t = 0; t < COUNT; ++t) one[t] += x[d] * rows[d * COUNT + t], two[t] += y[d] * rows[d * COUNT + t];
                for (int t = 0; t < COUNT; ++t) {
                    sums[t] += distances_[b * stride + first + t] = lower(b, squares[t], one[t]);
                    if (other > b) sums[t] += distances_[other * stride + first + t] = lower(other, squares[t], two[t]);
                }
            }
            for (int t = 0; t < COUNT; ++t) totals[first + t] += sum_of_lanes(sums[t]);
        }
    }

    Vector lower(int64_t b, float square, Vector product) const {
        Vector squared = points_.squares[b] + square - 2 * product;
        squared = squared > Vector{} ? squared : Vector{};
        return squared < nearest_[b] ? squared : nearest_[b];
    }

    void keep(int64_t best, int64_t stride) {
        for (int64_t group = 0; group < num_groups(); ++group) {
            Vector sum{};
            for (int64_t b = group * GROUP; b < std::min(points_.num_blocks, (group + 1) * GROUP); ++b) sum += nearest_[b] = distances_[b * stride + best];
            group_sums_[group] = sum_of_lanes(sum);
        }
    }
};

// Better centres: two clusters that are nearly one are merged, and the centre that this frees splits another cluster, where the split lowers
// the sum of squared distances by more than the merger raises it (Kaukoranta, Franti and Nevalainen 1998). Lloyd's method alone never moves a
// centre from where two share a kind to where one has two.
class Exchange {
  public:
    Exchange(const Points& points, Start& start, int num_threads) : points_(points), start_(start), splits_(start.centres.count), firsts_(start.centres.count + 1) {
        for (int32_t own : start.cluster) ++firsts_[own + 1];
        for (int64_t k = 0; k < start.centres.count; ++k) firsts_[k + 1] += firsts_[k];
        std::vector<int64_t> next(firsts_.begin(), firsts_.end() - 1);
        members_.resize(points.num);
        for (int64_t i = 0; i < points.num; ++i) members_[next[start.cluster[i]]++] = i;
        if (!in_parallel(splits_.size(), num_threads, [&](size_t k) { split(int64_t(k)); })) throw std::bad_alloc();
    }

    // The exchanges that lower the sum, the best first, no cluster in two of them; returns how many.
    int64_t run() {
        struct Merger {
            double cost;
            int64_t one, other;
        };
        const int64_t K = start_.centres.count, D = points_.num_dims;
        std::vector<Merger> mergers;
        for (int64_t k = 0; k < K; ++k) {
            Merger cheapest{INFINITY, k, k};  // with a cluster before it
            for (int64_t j = 0; j < k; ++j) {
                const double cost = apart(start_.sizes[k], start_.sizes[j], distance_squared(centre(k), centre(j), D));
                if (cost < cheapest.cost) cheapest = {cost, k, j};
            }
            mergers.push_back(cheapest);
        }
        std::stable_sort(mergers.begin(), mergers.end(), [](const Merger& a, const Merger& b) { return a.cost < b.cost; });
        std::vector<int64_t> by_gain(K);
        std::iota(by_gain.begin(), by_gain.end(), 0);
        std::stable_sort(by_gain.begin(), by_gain.end(), [&](int64_t a, int64_t b) { return splits_[a].gain > splits_[b].gain; });
        std::vector<bool> taken(K);
        int64_t num = 0;
        size_t next = 0;
        for (const Merger& merger : mergers) {
            if (taken[merger.one] || taken[merger.other]) continue;
            size_t place = next;
            while (place < by_gain.size() && (taken[by_gain[place]] || by_gain[place] == merger.one || by_gain[place] == merger.other)) ++place;
            if (place == by_gain.size() || !(splits_[by_gain[place]].gain > merger.cost * (1 + 1e-6))) break;
            const int64_t halved = by_gain[place];
            const double share = double(start_.sizes[merger.other]) / double(std::max<int64_t>(1, start_.sizes[merger.one] + start_.sizes[merger.other]));
            for (int64_t d = 0; d < D; ++d) {
                centre(merger.one)[d] += float(share) * (centre(merger.other)[d] - centre(merger.one)[d]);
                centre(merger.other)[d] = splits_[halved].means[d], centre(halved)[d] = splits_[halved].means[D + d];
            }
            taken[merger.one] = taken[merger.other] = taken[halved] = true, ++num;
        }
        return num;
    }

  private:
    struct Split {
        double gain = 0;
        std::vector<float> means;  // of both sides
    };
    static constexpr int NUM_TURNS = 4;  // towards the direction in which the cluster is longest, and then of its two means
    const Points& points_;
    Start& start_;
    std::vector<Split> splits_;
    std::vector<int64_t> firsts_, members_;

    float* centre(int64_t k) { return start_.centres.values.data() + k * points_.num_dims; }

    // By how much the sum of squared distances rises where two clusters become one.
    static double apart(int64_t one, int64_t other, double squared) { return double(one) * double(other) / double(std::max<int64_t>(1, one + other)) * squared; }

    static float dot(const float* a, const float* b, int64_t num_dims) {
        float partial[8] = {};
        int64_t d = 0;
        for (; d + 8 <= num_dims; d += 8)
            for (int k = 0; k < 8; ++k) partial[k] += a[d + k] * b[d + k];
        float total = 0;
        for (; d < num_dims; ++d) total += a[d] * b[d];
        for (int k = 0; k < 8; ++k) total += partial[k];
        return total;
    }

    void split(int64_t k) {
        const int64_t D = points_.num_dims, first = firsts_[k], end = firsts_[k + 1];
        if (end - first < 2) return;
        std::vector<float> direction(D), sum(D);
        float most = -1;
        for (int64_t m = first; m < end; ++m) {
            const float* x = points_.rows_ND + members_[m] * D;
            const float squared = distance_squared(x, centre(k), D);
            if (squared > most) {
                most = squared;
                for (int64_t d = 0; d < D; ++d) direction[d] = x[d] - centre(k)[d];
            }
        }
        for (int turn = 0; turn < NUM_TURNS; ++turn) {
            const float middle = dot(centre(k), direction.data(), D);
            std::fill(sum.begin(), sum.end(), 0.0f);
            float shares = 0;
            for (int64_t m = first; m < end; ++m) {
                const float* x = points_.rows_ND + members_[m] * D;
                const float share = dot(x, direction.data(), D) - middle;
                for (int64_t d = 0; d < D; ++d) sum[d] += share * x[d];
                shares += share;
            }
            for (int64_t d = 0; d < D; ++d) sum[d] -= shares * centre(k)[d];
            const float length = std::sqrt(dot(sum.data(), sum.data(), D));
            if (!(length > 0)) break;
            for (int64_t d = 0; d < D; ++d) direction[d] = sum[d] / length;
        }
        Split& found = splits_[k];
        found.means.resize(2 * D);
        float border = dot(centre(k), direction.data(), D);
        for (int turn = 0; turn < NUM_TURNS; ++turn) {
            std::vector<double> sums(2 * D);
            int64_t sizes[2] = {};
            for (int64_t m = first; m < end; ++m) {
                const float* x = points_.rows_ND + members_[m] * D;
                const int side = dot(x, direction.data(), D) > border;
                double* to = sums.data() + side * D;
                for (int64_t d = 0; d < D; ++d) to[d] += x[d];
                ++sizes[side];
            }
            if (!sizes[0] || !sizes[1]) return;
            double squared = 0;
            border = 0;
            for (int64_t d = 0; d < D; ++d) {
                const float one = float(sums[d] / double(sizes[0])), other = float(sums[D + d] / double(sizes[1]));
                found.means[d] = one, found.means[D + d] = other, direction[d] = other - one;
                border += (one + other) / 2 * (other - one), squared += double(other - one) * double(other - one);
            }
            found.gain = apart(sizes[0], sizes[1], squared);
        }
    }
};

}  // namespace
}  // namespace mcdist

// sizes: N, D, K, starts, trials, passes, rounds of exchange, sample, first passes, kept starts. draws [starts][K][trials]. Gives the centres
// [K][D] of the best start, and its objective.
extern "C" int kmeans_float(const float* rows, const float* sample, const double* draws, float* centres, double* objective, const int64_t* sizes, double least,
                            int num_threads) {
    return mcdist::guarded([&] {
        using namespace mcdist;
        const int64_t num_clusters = sizes[2], num_starts = sizes[3], num_trials = sizes[4], most = sizes[5], num_rounds = sizes[6];
        const int64_t num_sampled = sizes[7], first_passes = sizes[8], num_kept = sizes[9];
        const Points points(rows, sizes[0], sizes[1]);
        const Points sampled(sample, num_sampled, sizes[1]);
        const bool apart = num_threads > 1 && num_starts > 1;
        const auto for_starts = [&](size_t count, const std::function<void(size_t)>& run) {
            if (!apart)
                for (size_t s = 0; s < count; ++s) run(s);
            else if (!in_parallel(count, num_threads, run))
                throw std::bad_alloc();
        };
        const Lloyd lloyd(points, apart ? 1 : num_threads);
        std::vector<std::unique_ptr<Start>> starts(num_starts);
        for_starts(starts.size(), [&](size_t s) {
            starts[s] = std::make_unique<Start>(points, num_clusters);
            Seeding(sampled, num_trials).draw(draws + int64_t(s) * num_clusters * num_trials, starts[s]->centres);
            lloyd.run(*starts[s], std::min(first_passes, most), least);
        });
        const auto by_objective = [](const auto& a, const auto& b) { return a->objective < b->objective; };
        std::stable_sort(starts.begin(), starts.end(), by_objective);
        starts.resize(num_kept);
        for_starts(starts.size(), [&](size_t s) {
            Start& start = *starts[s];
            lloyd.run(start, most, least);
            for (int64_t round = 0; round < num_rounds && Exchange(points, start, apart ? 1 : num_threads).run(); ++round) {
                start.begin();
                lloyd.run(start, start.num_passes + most, least);
            }
        });
        Start& start = **std::min_element(starts.begin(), starts.end(), by_objective);
        Lloyd(points, num_threads).run(start, start.num_passes + most, 0.0);  // the best one to its end: few vectors move by now
        std::copy(start.centres.values.begin(), start.centres.values.end(), centres);
        *objective = start.objective;
        return true;
    });
}
