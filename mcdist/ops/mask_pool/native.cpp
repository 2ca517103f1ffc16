// Mask pooling and its gradient on a CPU, without any pixel embedding in memory: see mask_pool/native.py for what it computes.
//
// Inside a cell a pixel's unit vector is sum_k (w_k / |u|) f_k. So the weights of an object's pixels are added up at the cell's four corners
// first, and multiplied with the features once.
#include "../cells.h"

namespace mcdist {
namespace {

template <class Real>
struct Pixel {
    Real weight[4];
    Real inverse;
    bool too_short;
    int64_t object;
};

// The objects of one cell, each with the sum of w_k / |u| over its pixels.
template <class Real>
struct Shares {
    std::vector<int64_t> objects;
    std::vector<Real> sums;  // 4 an object

    void add(const Pixel<Real>& pixel, Real factor) {
        size_t place = 0;
        while (place < objects.size() && objects[place] != pixel.object) ++place;
        if (place == objects.size()) objects.push_back(pixel.object), sums.resize(sums.size() + 4, Real(0));
        for (int k = 0; k < 4; ++k) sums[4 * place + k] += factor * pixel.weight[k];
    }
    void clear() { objects.clear(), sums.clear(); }
};

template <class Real, class Map>
struct Pool {
    Sizes sizes;
    const Real* features_BhwD;
    const Map* instances_BHW;
    int64_t num_objects;
    std::vector<Real> shares;

    void collect(int64_t image, int64_t i, int64_t j, const Real* const corner[4], std::vector<Pixel<Real>>& pixels) const {
        pixels.clear();
        for_pixels(instances_BHW + image * sizes.H() * sizes.W(), i, j, sizes, [&](int64_t y, int64_t x, Map instance) {
            if (instance < 1 || instance > num_objects) return;
            const Real down = shares[y], right = shares[x];
            Pixel<Real> pixel{{(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right}, 0, false, instance - 1};
            pixel.inverse = inverse_length(corner, pixel.weight, sizes.width_D, &pixel.too_short);
            pixels.push_back(pixel);
        });
    }

    // Calls take(corners, features of the corners, pixels) for every cell of the strip that holds pixels of an object.
    template <class Take>
    void for_cells(const Strip& strip, Take take) const {
        const Real* image = features_BhwD + strip.image * sizes.h * sizes.w * sizes.width_D;
        std::vector<Pixel<Real>> pixels;
        for (int64_t i = strip.first; i < strip.last; ++i)
            for (int64_t j = -1; j < sizes.w; ++j) {
                const Corners corners(i, j, sizes);
                const Real* f[4];
                for (int k = 0; k < 4; ++k) f[k] = image + (corners.row(k) * sizes.w + corners.column(k)) * sizes.width_D;
                collect(strip.image, i, j, f, pixels);
                if (!pixels.empty()) take(corners, f, pixels);
            }
    }

    // sums [objects, D] and counts [objects] of one strip, in double: an object has tens of thousands of pixels.
    void sum(const Strip& strip, double* sums, int64_t* counts) const {
        Shares<Real> cell;
        for_cells(strip, [&](const Corners&, const Real* const f[4], const std::vector<Pixel<Real>>& pixels) {
            cell.clear();
            for (const auto& pixel : pixels) cell.add(pixel, pixel.inverse), ++counts[pixel.object];
            for (size_t o = 0; o < cell.objects.size(); ++o)
                for (int64_t d = 0; d < sizes.D; ++d)
                    for (int k = 0; k < 4; ++k) sums[cell.objects[o] * sizes.D + d] += double(cell.sums[4 * o + k]) * double(f[k][d]);
        });
    }

    // With G the gradient of an object's sum: du = (G - (G . u) u / |u|^2) / |u|, and df_k = sum over pixels of w_k du.
    void pull_back(const Strip& strip, size_t number, const Real* dsums_OD, StripGradients<Real>& gradients) const {
        Shares<Real> cell;
        std::vector<Real> dots(4 * num_objects);
        for_cells(strip, [&](const Corners& corners, const Real* const f[4], const std::vector<Pixel<Real>>& pixels) {
            Real* df[4];
            for (int k = 0; k < 4; ++k) df[k] = gradients.at(number, corners.row(k), corners.column(k));
            cell.clear();
            for (const auto& pixel : pixels)
                if (!pixel.too_short) cell.add(pixel, pixel.inverse);
            for (int64_t o : cell.objects)
                for (int k = 0; k < 4; ++k) {
                    Real dot = 0;
                    for (int64_t d = 0; d < sizes.D; ++d) dot += dsums_OD[o * sizes.D + d] * f[k][d];
                    dots[4 * o + k] = dot;
                }
            Real M[4][4] = {};
            for (const auto& pixel : pixels) {
                if (pixel.too_short) continue;
                Real along = 0;
                for (int k = 0; k < 4; ++k) along += pixel.weight[k] * dots[4 * pixel.object + k];
                along *= pixel.inverse * pixel.inverse * pixel.inverse;
                for (int k = 0; k < 4; ++k)
                    for (int l = 0; l < 4; ++l) M[k][l] += pixel.weight[k] * pixel.weight[l] * along;
            }
            for (size_t o = 0; o < cell.objects.size(); ++o)
                for (int k = 0; k < 4; ++k)
                    for (int64_t d = 0; d < sizes.D; ++d) df[k][d] += cell.sums[4 * o + k] * dsums_OD[cell.objects[o] * sizes.D + d];
            subtract_norm_share(f, df, M, sizes.width_D);
        });
    }

    // False if memory ran out.
    bool run(Real* sums_PD, int64_t* counts_P, int num_threads) const {
        const std::vector<Strip> strips = strips_of(sizes);
        const int64_t stripped = num_objects * sizes.D;
        std::vector<double> sums(strips.size() * stripped, 0.0);
        std::vector<int64_t> counts(strips.size() * num_objects, 0);
        const auto sum_strip = [&](size_t s) { sum(strips[s], sums.data() + s * stripped, counts.data() + s * num_objects); };
        if (!in_parallel(strips.size(), num_threads, sum_strip)) return false;
        std::vector<double> total(sizes.B * stripped, 0.0);
        std::fill(counts_P, counts_P + sizes.B * num_objects, int64_t(0));
        for (size_t s = 0; s < strips.size(); ++s) {
            for (int64_t n = 0; n < stripped; ++n) total[strips[s].image * stripped + n] += sums[s * stripped + n];
            for (int64_t o = 0; o < num_objects; ++o) counts_P[strips[s].image * num_objects + o] += counts[s * num_objects + o];
        }
        for (int64_t n = 0; n < sizes.B * stripped; ++n) sums_PD[n] = Real(total[n]);
        return true;
    }

    // False if memory ran out.
    bool run_backward(const Real* dsums_PD, Real* dfeatures_BhwD, int num_threads) const {
        const std::vector<Strip> strips = strips_of(sizes);
        StripGradients<Real> gradients(sizes, strips);
        const auto pull_back_strip = [&](size_t s) { pull_back(strips[s], s, dsums_PD + strips[s].image * num_objects * sizes.D, gradients); };
        if (!in_parallel(strips.size(), num_threads, pull_back_strip)) return false;
        gradients.add_up(dfeatures_BhwD);
        return true;
    }
};

template <class Real, class Map>
Pool<Real, Map> pool_of(const Real* features, const Map* instances, const int64_t* sizes) {
    return {{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]}, features, instances, sizes[6], far_shares<Real>(sizes[4])};
}

}  // namespace
}  // namespace mcdist

#define MCDIST_POOL(SUFFIX, REAL, MAP)                                                                                                                   \
    extern "C" int mask_pool_##SUFFIX(const REAL* features, const MAP* instances, REAL* sums, int64_t* counts, const int64_t* sizes, int num_threads) { \
        return mcdist::guarded([&] { return mcdist::pool_of(features, instances, sizes).run(sums, counts, num_threads); });                             \
    }                                                                                                                                                    \
    extern "C" int mask_pool_backward_##SUFFIX(const REAL* features, const MAP* instances, const REAL* dsums, REAL* dfeatures, const int64_t* sizes,    \
                                               int num_threads) {                                                                                        \
        return mcdist::guarded([&] { return mcdist::pool_of(features, instances, sizes).run_backward(dsums, dfeatures, num_threads); });                \
    }

MCDIST_POOL(float_int16, float, int16_t)
MCDIST_POOL(float_int32, float, int32_t)
MCDIST_POOL(double_int16, double, int16_t)
MCDIST_POOL(double_int32, double, int32_t)
