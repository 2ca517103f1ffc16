// Cells: the code that both operators share. A cell is the stride x stride pixels between four neighbouring feature centres.
//
// Each pixel of a cell is a fixed convex combination of the cell's four features ("corners": upper left, upper right, lower left,
// lower right). Cell (i, j), i from -1 to h - 1, holds the pixel rows stride * i + stride / 2 and the stride - 1 after it; a corner
// beyond the border is the border's own feature.
//
// Vectors are written with the compiler's vector extension, and are exactly as wide as the registers that the code is built for: GCC takes
// comparisons and selections of wider ones apart, lane by lane. Every sum has one fixed order, so results do not depend on the optimizer,
// and on another width differ by rounding only. No fast-math: NaN stays NaN.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <vector>

namespace mcdist {

constexpr double SHORTEST = 1e-12;  // as SHORTEST of upsample.py

// Bytes of a vector register.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else  // SSE, NEON
constexpr int VECTOR_BYTES = 16;
#endif

// Rows are padded to a multiple of this and start at one, whatever the width: as LANES_BYTES of native.py.
constexpr int ROW_BYTES = 64;
static_assert(ROW_BYTES % VECTOR_BYTES == 0, "a row is a whole number of vectors");

template <class Real>
struct Lanes;

template <>
struct Lanes<float> {
    static constexpr int64_t count = VECTOR_BYTES / 4;
    typedef float vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
    typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
    typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / 4)));
    typedef uint16_t shorts __attribute__((vector_size(VECTOR_BYTES / 2)));

    // Widened a step at a time: compilers take a single step of four times the width lane by lane.
    static inline integers widen(bytes b) { return __builtin_convertvector(__builtin_convertvector(b, shorts), integers); }

    // 2^x for x from about -126 to 126, to one unit in the last place. Below it is 2^-126, which changes no sum that contains a 1.
    static inline vector exp2(vector x) {
        const vector round = vector{} + 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
        x = x < -126.0f ? vector{} - 126.0f : x;
        const vector shifted = x + round;
        const vector r = x - (shifted - round);
        vector p = vector{} + 0.00015353361959569156f;  // least relative error of 2^r on [-1/2, 1/2]: 2e-9, before rounding
        p = p * r + 0.0013398875016719103f;
        p = p * r + 0.00961843691766262f;
        p = p * r + 0.055503323674201965f;
        p = p * r + 0.24022647738456726f;
        p = p * r + 0.6931471824645996f;
        p = p * r + 1.0f;
        return (vector)((integers)p + ((integers)shifted << 23));
    }
};

template <>
struct Lanes<double> {
    static constexpr int64_t count = VECTOR_BYTES / 8;
    typedef double vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
    typedef int64_t integers __attribute__((vector_size(VECTOR_BYTES)));
    typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / 8)));
    typedef uint16_t shorts __attribute__((vector_size(VECTOR_BYTES / 4)));
    typedef uint32_t words __attribute__((vector_size(VECTOR_BYTES / 2)));

    static inline integers widen(bytes b) { return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(b, shorts), words), integers); }

    static inline vector exp2(vector x) {
        for (int64_t lane = 0; lane < count; ++lane) x[lane] = std::exp2(x[lane]);
        return x;
    }
};

template <class Real>
inline Real sum_of(typename Lanes<Real>::vector v) {
    Real total = 0;
    for (int64_t lane = 0; lane < Lanes<Real>::count; ++lane) total += v[lane];
    return total;
}

template <class Real>
inline Real max_of(typename Lanes<Real>::vector v) {
    Real top = v[0];
    for (int64_t lane = 1; lane < Lanes<Real>::count; ++lane) top = std::max(top, v[lane]);
    return top;
}

// Calls work(), which returns false if memory ran out. Returns 0, or 1 if memory ran out: an exception that reached Python would end the
// process.
template <class Work>
inline int guarded(Work work) {
    try {
        return work() ? 0 : 1;
    } catch (const std::exception&) {  // the standard library throws bad_alloc or, for a size beyond all memory, length_error
        return 1;
    }
}

// Calls work(s) for s = 0 .. count - 1 on several threads; false if memory ran out in one of them. No exception may leave a thread of
// OpenMP, since that would end the process.
template <class Work>
inline bool in_parallel(size_t count, int num_threads, Work work) {
    std::atomic<bool> complete{true};
#pragma omp parallel for schedule(dynamic, 1) num_threads(num_threads)
    for (int64_t s = 0; s < int64_t(count); ++s) {
        try {
            work(size_t(s));
        } catch (const std::exception&) {
            complete = false;
        }
    }
    return complete;
}

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Memory for whole rows, aligned to them. Not initialised.
template <class T>
class Aligned {
  public:
    explicit Aligned(int64_t n) : data_(static_cast<T*>(::operator new(std::max<size_t>(ROW_BYTES, round_up(n * sizeof(T), ROW_BYTES)), std::align_val_t(ROW_BYTES)))) {}
    T* get() const { return data_.get(); }
    T& operator[](int64_t i) const { return data_.get()[i]; }

  private:
    struct Free {
        void operator()(T* p) const { ::operator delete(p, std::align_val_t(ROW_BYTES)); }
    };
    std::unique_ptr<T, Free> data_;
};

// The sizes of a feature map and its images. Features are stored as [image, row, column, width_D]: each vector is padded with zeros to a
// whole row.
struct Sizes {
    int64_t B, D, h, w, stride, width_D;
    int64_t H() const { return h * stride; }
    int64_t W() const { return w * stride; }
};

// The weight of the farther neighbour in the k-th pixel of a cell, along one axis.
template <class Real>
inline std::vector<Real> far_shares(int64_t stride) {
    std::vector<Real> shares(stride);
    for (int64_t k = 0; k < stride; ++k) shares[k] = Real((stride / 2 + k + 0.5) / stride - 0.5);
    return shares;
}

// The four features of a cell and where their gradients go; a row or column beyond the border is the border's.
struct Corners {
    int64_t top, bottom, left, right;
    Corners(int64_t i, int64_t j, const Sizes& sizes)
        : top(std::max<int64_t>(i, 0)), bottom(std::min(i + 1, sizes.h - 1)), left(std::max<int64_t>(j, 0)), right(std::min(j + 1, sizes.w - 1)) {}
    int64_t row(int k) const { return k < 2 ? top : bottom; }
    int64_t column(int k) const { return k % 2 ? right : left; }
};

// Calls take(y, x, value) for the pixels of cell (i, j) inside the image; (y, x) counts from the cell's own corner.
template <class Map, class Take>
inline void for_pixels(const Map* map_HW, int64_t i, int64_t j, const Sizes& sizes, Take take) {
    const int64_t first_row = sizes.stride * i + sizes.stride / 2, first_column = sizes.stride * j + sizes.stride / 2;
    const int64_t y0 = std::max<int64_t>(0, -first_row), y1 = std::min(sizes.stride, sizes.H() - first_row);
    const int64_t x0 = std::max<int64_t>(0, -first_column), x1 = std::min(sizes.stride, sizes.W() - first_column);
    for (int64_t y = y0; y < y1; ++y) {
        const Map* row = map_HW + (first_row + y) * sizes.W() + first_column;
        for (int64_t x = x0; x < x1; ++x) take(y, x, row[x]);
    }
}

// 1 / |u| of one pixel. u is summed here from the four corners, since the quadratic form of their products would cancel where neighbours
// nearly oppose each other.
template <class Real>
inline Real inverse_length(const Real* const corner[4], const Real weight[4], int64_t width_D, bool* too_short) {
    typedef typename Lanes<Real>::vector vector;
    vector square{};
    for (int64_t d = 0; d < width_D; d += Lanes<Real>::count) {
        vector u = *(const vector*)(corner[0] + d) * weight[0];
        for (int k = 1; k < 4; ++k) u = *(const vector*)(corner[k] + d) * weight[k] + u;
        square = u * u + square;
    }
    const Real length = std::sqrt(sum_of<Real>(square));
    *too_short = length < Real(SHORTEST);
    return *too_short ? Real(1 / SHORTEST) : 1 / length;
}

// corner_k of the gradient -= sum_l M_kl f_l: the gradient of the division by |u|, with one 4 x 4 matrix for each cell.
template <class Real>
inline void subtract_norm_share(const Real* const corner[4], Real* const dcorner[4], const Real M[4][4], int64_t width_D) {
    typedef typename Lanes<Real>::vector vector;
    for (int64_t d = 0; d < width_D; d += Lanes<Real>::count) {
        vector f[4];
        for (int l = 0; l < 4; ++l) f[l] = *(const vector*)(corner[l] + d);
        for (int k = 0; k < 4; ++k) {  // one after the other, since at a border two corners are one feature
            vector& out = *(vector*)(dcorner[k] + d);
            out = out - (f[0] * M[k][0] + f[1] * M[k][1] + f[2] * M[k][2] + f[3] * M[k][3]);
        }
    }
}

// The pieces of work: images cut into strips of cell rows. The cut depends on the sizes alone, so results do not depend on the threads.
struct Strip {
    int64_t image, first, last;  // cell rows first .. last - 1, counted from -1
    int64_t first_feature_row(const Sizes&) const { return std::max<int64_t>(first, 0); }
    int64_t num_feature_rows(const Sizes& sizes) const { return std::min(last, sizes.h - 1) - std::max<int64_t>(first, 0) + 1; }
};

inline std::vector<Strip> strips_of(const Sizes& sizes) {
    const int64_t rows = sizes.h + 1;
    const int64_t num_pieces = std::max<int64_t>(1, (64 + sizes.B - 1) / std::max<int64_t>(sizes.B, 1));  // about 64 in all, of at least 4 rows
    const int64_t height = std::max<int64_t>(4, (rows + num_pieces - 1) / num_pieces);
    std::vector<Strip> strips;
    for (int64_t image = 0; image < sizes.B; ++image)
        for (int64_t first = -1; first < sizes.h; first += height) strips.push_back({image, first, std::min(first + height, sizes.h)});
    return strips;
}

// Each strip's gradient of its own feature rows. Neighbouring strips share a row; they are added up in order.
template <class Real>
class StripGradients {
  public:
    StripGradients(const Sizes& sizes, const std::vector<Strip>& strips) : sizes_(sizes), strips_(strips), start_(strips.size() + 1) {
        const int64_t row = sizes.w * sizes.width_D;
        for (size_t s = 0; s < strips.size(); ++s) start_[s + 1] = start_[s] + strips[s].num_feature_rows(sizes) * row;
        values_.assign(start_.back() + ROW_BYTES / sizeof(Real), Real(0));
        const auto misplaced = reinterpret_cast<uintptr_t>(values_.data()) % ROW_BYTES;
        offset_ = misplaced ? (ROW_BYTES - misplaced) / sizeof(Real) : 0;
    }
    // The gradient of feature (row, column) in strip s.
    Real* at(size_t s, int64_t row, int64_t column) {
        return values_.data() + offset_ + start_[s] + ((row - strips_[s].first_feature_row(sizes_)) * sizes_.w + column) * sizes_.width_D;
    }
    // out [B, h, w, D], without the padding.
    void add_up(Real* out) {
        std::fill(out, out + sizes_.B * sizes_.h * sizes_.w * sizes_.D, Real(0));
        for (size_t s = 0; s < strips_.size(); ++s) {
            const int64_t first = strips_[s].first_feature_row(sizes_);
            for (int64_t row = first; row < first + strips_[s].num_feature_rows(sizes_); ++row)
                for (int64_t column = 0; column < sizes_.w; ++column) {
                    const Real* from = at(s, row, column);
                    Real* to = out + ((strips_[s].image * sizes_.h + row) * sizes_.w + column) * sizes_.D;
                    for (int64_t d = 0; d < sizes_.D; ++d) to[d] += from[d];
                }
        }
    }

  private:
    const Sizes& sizes_;
    const std::vector<Strip>& strips_;
    std::vector<int64_t> start_;
    std::vector<Real> values_;
    size_t offset_ = 0;
};

}  // namespace mcdist
