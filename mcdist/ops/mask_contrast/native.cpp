// The contrastive loss and its gradient on a CPU, without any [pixels, D] or [pixels, N] tensor: see mask_contrast/native.py for what it computes.
//
// With a pixel u = sum_k w_k f_k of its cell's four features and S_kn = f_k . c_n / T, its logits are z_n = sum_k (w_k / |u|) S_kn: four
// multiply-adds and one exponential a candidate. S exists for the features of two rows at a time. The exponentials of eight pixels are
// kept until their sums are known, so that each is computed once. dS_kn collects their share of the softmax; the gradient of the features
// is dS C / T less the gradient of the division by |u|.
//
// Logits are kept as z log2(e), so that the exponential is a power of 2.
#include "../cells.h"

namespace mcdist {
namespace {

constexpr double LOG2_E = 1.4426950408889634, LN_2 = 0.6931471805599453;
constexpr double RUNNING_MAXIMUM_FROM = 60;  // largest |z| log2(e) for a fixed shift: beyond it a sum of exponentials could underflow to 0
constexpr int GROUP = 8;                     // pixels whose exponentials are kept at a time

struct Candidates {
    int64_t N, width_N;               // width_N: whole rows
    const uint8_t* excluded;          // a row of [width_N] for each column: what pixels with that target do not see; or null
    const int64_t* column_of;         // [P]: the candidate that a target row is, among those that are left
};

template <class Real>
struct Pixel {
    Real weight[4];   // of the corners, bilinear
    Real scaled[4];   // the same / |u|
    Real inverse;     // 1 / |u|
    Real loss_weight;
    bool too_short;
    int64_t target, column;
};

template <class Real>
class Cell {
  public:
    typedef typename Lanes<Real>::vector vector;
    typedef typename Lanes<Real>::integers integers;
    typedef typename Lanes<Real>::bytes bytes;
    static constexpr int64_t lanes = Lanes<Real>::count;
    static constexpr Real HIDDEN = Real(1e30);  // minus this is the logit of a candidate that a pixel does not see

    Cell(const Candidates& candidates, Real shift, bool running_maximum, bool want_gradient)
        : candidates_(candidates), shift_(shift), running_maximum_(running_maximum), want_gradient_(want_gradient), kept_(GROUP * candidates.width_N),
          whole_(candidates.N / lanes * lanes), tail_(candidates.width_N - whole_), none_(2 * candidates.width_N) {
        for (int64_t n = whole_; n < candidates.width_N; ++n) tail_[n - whole_] = n >= candidates.N;
        std::fill(none_.get(), none_.get() + 2 * candidates.width_N, Real(0));
    }

    // Adds one cell: S and dS are the rows of its corners. M collects the share of the division by |u|.
    void add(const Real* const S[4], Real* const dS[4], std::vector<Pixel<Real>>& pixels, Real M[4][4], double* loss, int64_t* correct) {
        for (int k = 0; k < 4; ++k) S_[k] = S[k], dS_[k] = dS ? dS[k] : nullptr;
        merge_equal_corners(pixels);
        for (size_t first = 0; first < pixels.size(); first += GROUP) {
            const int count = int(std::min<size_t>(GROUP, pixels.size() - first));
            Pixel<Real>* group = pixels.data() + first;
            for (int p = 0; p < count; p += 2) exponentials(group, p, std::min(2, count - p));
            for (int p = 0; p < count; ++p) finish(group[p], p, M, loss, correct);
            if (want_gradient_) count == GROUP ? scatter<GROUP>(GROUP) : scatter<0>(count);
        }
    }

  private:
    // At a border two corners are one feature. Its weight goes to one of them, since the gradients of both could not be added to at once.
    void merge_equal_corners(std::vector<Pixel<Real>>& pixels) {
        const int pairs[4][2] = {{0, 2}, {1, 3}, {0, 1}, {2, 3}};
        for (const auto& pair : pairs) {
            const int to = pair[0], from = pair[1];
            if (S_[to] != S_[from]) continue;
            for (auto& pixel : pixels) pixel.scaled[to] += pixel.scaled[from], pixel.scaled[from] = 0;
            S_[from] = none_.get();
            dS_[from] = none_.get() + candidates_.width_N;
        }
    }

    inline vector logits(const Real scaled[4], int64_t n) const {
        vector z{};  // starts at zero, so that there is only one way to fuse multiplications with additions
        for (int k = 0; k < 4; ++k) z = *(const vector*)(S_[k] + n) * scaled[k] + z;
        return z;
    }

    // The same for readers of single lanes. Not inlined: the compiler would compute those lanes by other instructions, which round otherwise.
    __attribute__((noinline)) void logits(const Real scaled[4], int64_t n, Real out[lanes]) const {
        const vector z = logits(scaled, n);
        std::memcpy(out, &z, sizeof z);
    }

    // The lanes from n on that a pixel must not see.
    inline integers hidden(const Pixel<Real>& pixel, int64_t n) const {
        bytes marks;
        std::memcpy(&marks, candidates_.excluded ? candidates_.excluded + pixel.column * candidates_.width_N + n : tail_.get() + n - whole_, sizeof marks);
        return Lanes<Real>::widen(marks) != 0;
    }

    struct Sums {
        vector total{}, weighted{}, top = vector{} - HIDDEN;
    };

    template <int count, bool masked, bool running_maximum>
    inline void take(const Pixel<Real>* pixel, Real* const kept[count], int64_t from, int64_t to, Sums sums[count]) const {
        const vector shift = vector{} + shift_;
        for (int64_t n = from; n < to; n += lanes)
            for (int p = 0; p < count; ++p) {
                vector z = logits(pixel[p].scaled, n);
                integers hide;
                if (masked) {
                    hide = hidden(pixel[p], n);
                    const vector most = hide ? vector{} - HIDDEN : vector{} + HIDDEN;
                    z = z > most ? most : z;  // a minimum rather than a choice between sums: compilers move such a choice into the last sum, which is then rounded twice
                }
                sums[p].top = z > sums[p].top ? z : sums[p].top;
                if (running_maximum) {
                    *(vector*)(kept[p] + n) = z;
                    continue;
                }
                z = z - shift;
                vector e = Lanes<Real>::exp2(z);
                if (masked) e = hide ? vector{} : e;
                *(vector*)(kept[p] + n) = e;
                sums[p].total = sums[p].total + e;
                sums[p].weighted = e * z + sums[p].weighted;
            }
    }

    template <int count, bool running_maximum>
    inline void take_all(const Pixel<Real>* pixel, Real* const kept[count], Sums sums[count]) const {
        if (candidates_.excluded) return take<count, true, running_maximum>(pixel, kept, 0, candidates_.width_N, sums);
        take<count, false, running_maximum>(pixel, kept, 0, whole_, sums);
        if (whole_ < candidates_.width_N) take<count, true, running_maximum>(pixel, kept, whole_, candidates_.width_N, sums);
    }

    // exp(z - shift) of all candidates, their sum and their sum times z - shift.
    void exponentials(const Pixel<Real>* group, int first, int count) {
        Real* const kept[2] = {kept_.get() + first * candidates_.width_N, kept_.get() + (first + 1) * candidates_.width_N};
        Sums sums[2];
        if (running_maximum_) count == 2 ? take_all<2, true>(group + first, kept, sums) : take_all<1, true>(group + first, kept, sums);
        else count == 2 ? take_all<2, false>(group + first, kept, sums) : take_all<1, false>(group + first, kept, sums);
        for (int p = 0; p < count; ++p) {
            top_[first + p] = max_of<Real>(sums[p].top);
            shift_of_[first + p] = running_maximum_ ? top_[first + p] : shift_;
            if (running_maximum_) take_powers(kept[p], top_[first + p], sums[p]);
            total_[first + p] = sum_of<Real>(sums[p].total);
            weighted_[first + p] = sum_of<Real>(sums[p].weighted);
        }
    }

    void take_powers(Real* kept, Real top, Sums& sums) const {
        for (int64_t n = 0; n < candidates_.width_N; n += lanes) {
            const vector z = *(vector*)(kept + n);
            const vector shifted = z - top;
            const vector e = z == -HIDDEN ? vector{} : Lanes<Real>::exp2(shifted);
            *(vector*)(kept + n) = e;
            sums.total = sums.total + e;
            sums.weighted = e * shifted + sums.weighted;
        }
    }

    void finish(Pixel<Real>& pixel, int p, Real M[4][4], double* loss, int64_t* correct) {
        const int64_t first_lane = pixel.column / lanes * lanes;
        Real z[lanes];
        logits(pixel.scaled, first_lane, z);
        const Real own = z[pixel.column - first_lane];
        *loss += double(pixel.loss_weight) * LN_2 * (std::log2(double(total_[p])) + double(shift_of_[p]) - double(own));
        *correct += own >= top_[p] && !beaten_by_an_equal(pixel, own);
        if (!want_gradient_) return;
        const Real weight = pixel.too_short ? Real(0) : pixel.loss_weight;
        const Real along = weight * Real(LN_2) * (weighted_[p] / total_[p] - (own - shift_of_[p]));  // sum_n dz_n z_n
        const Real outer = along * pixel.inverse * pixel.inverse;
        for (int k = 0; k < 4; ++k)
            for (int l = 0; l < 4; ++l) M[k][l] += pixel.weight[k] * pixel.weight[l] * outer;
        for (int k = 0; k < 4; ++k) {
            share_[p][k] = pixel.scaled[k] * weight / total_[p];
            dS_[k][pixel.column] -= pixel.scaled[k] * weight;
        }
    }

    // Whether an equal candidate comes before the pixel's own: of equal ones the first is picked.
    bool beaten_by_an_equal(const Pixel<Real>& pixel, Real own) const {
        for (int64_t n = 0; n < pixel.column; n += lanes) {
            Real z[lanes];
            logits(pixel.scaled, n, z);
            const uint8_t* hide = candidates_.excluded ? candidates_.excluded + pixel.column * candidates_.width_N + n : nullptr;
            for (int64_t lane = 0; lane < lanes && n + lane < pixel.column; ++lane)
                if (z[lane] >= own && !(hide && hide[lane])) return true;
        }
        return false;
    }

    // dS_k += sum over the group of (w_k / |u|) weight softmax. `fixed`: the count if the compiler shall know it, else 0.
    template <int fixed>
    void scatter(int count) {
        if (fixed) count = fixed;
        const int64_t N = candidates_.width_N;
        for (int64_t n = 0; n < N; n += lanes) {
            vector out[4];
            for (int k = 0; k < 4; ++k) out[k] = *(vector*)(dS_[k] + n);
            for (int p = 0; p < count; ++p) {
                const vector e = *(const vector*)(kept_.get() + p * N + n);
                for (int k = 0; k < 4; ++k) out[k] = e * share_[p][k] + out[k];
            }
            for (int k = 0; k < 4; ++k) *(vector*)(dS_[k] + n) = out[k];
        }
    }

    const Candidates& candidates_;
    const Real shift_;
    const bool running_maximum_, want_gradient_;
    Aligned<Real> kept_;
    const int64_t whole_;  // candidates in vectors without padding
    Aligned<uint8_t> tail_;
    Aligned<Real> none_;
    const Real* S_[4];
    Real* dS_[4];
    Real total_[GROUP], weighted_[GROUP], top_[GROUP], shift_of_[GROUP], share_[GROUP][4];
};

// S = F C / T of two feature rows, computed for the columns that are needed, and the gradients with respect to it.
template <class Real>
class FeatureRows {
  public:
    typedef typename Lanes<Real>::vector vector;
    static constexpr int64_t lanes = Lanes<Real>::count;

    FeatureRows(const Sizes& sizes, const Real* candidates_DN, int64_t width_N, bool want_gradient)
        : sizes_(sizes), C_(candidates_DN), N_(width_N), want_gradient_(want_gradient), S_(2 * sizes.w * width_N), dS_(want_gradient ? 2 * sizes.w * width_N : 0),
          made_(2 * sizes.w, 0) {}

    const Real* S(int64_t row, int64_t column) const { return S_.get() + (row % 2 * sizes_.w + column) * N_; }
    Real* dS(int64_t row, int64_t column) const { return dS_.get() + (row % 2 * sizes_.w + column) * N_; }

    // Computes these columns of row `row`. The row that had its place before is added to the gradient first.
    template <class At>
    void need(const Real* features_hwD, int64_t row, const std::vector<char>& columns, At dfeature) {
        const int64_t place = row % 2;
        if (row_[place] != row) give_back(place, dfeature);
        row_[place] = row;
        int64_t missing[4];
        int count = 0;
        for (int64_t column = 0; column < sizes_.w; ++column) {
            if (!columns[column] || made_[place * sizes_.w + column]) continue;
            made_[place * sizes_.w + column] = 1;
            missing[count++] = column;
            if (count == 4) make(features_hwD, row, missing, count), count = 0;
        }
        if (count) make(features_hwD, row, missing, count);
    }

    template <class At>
    void give_back_all(At dfeature) {
        for (int64_t place = 0; place < 2; ++place) give_back(place, dfeature);
    }

  private:
    void make(const Real* features_hwD, int64_t row, const int64_t* columns, int count) {
        const Real* f[4];
        Real* out[4];
        for (int c = 0; c < 4; ++c) {
            const int64_t column = columns[std::min(c, count - 1)];
            f[c] = features_hwD + (row * sizes_.w + column) * sizes_.width_D;
            out[c] = S_.get() + (row % 2 * sizes_.w + column) * N_;
            if (want_gradient_) std::memset(dS(row, column), 0, N_ * sizeof(Real));
        }
        for (int64_t n = 0; n < N_; n += lanes) {
            vector sum[4] = {};
            for (int64_t d = 0; d < sizes_.D; ++d) {
                const vector c = *(const vector*)(C_ + d * N_ + n);
                for (int k = 0; k < 4; ++k) sum[k] = c * f[k][d] + sum[k];
            }
            for (int k = 0; k < 4; ++k) *(vector*)(out[k] + n) = sum[k];
        }
    }

    template <class At>
    void give_back(int64_t place, At dfeature) {
        for (int64_t column = 0; column < sizes_.w; ++column) {
            char& made = made_[place * sizes_.w + column];
            if (made && want_gradient_) add_product(dS_.get() + (place * sizes_.w + column) * N_, dfeature(row_[place], column));
            made = 0;
        }
        row_[place] = -1;
    }

    // df += dS C / T. C is scaled by log2(e) / T, hence ln 2.
    void add_product(const Real* dS, Real* df) const {
        for (int64_t d = 0; d < sizes_.D; d += 4) {
            const int count = int(std::min<int64_t>(4, sizes_.D - d));
            vector sum[4] = {};
            for (int64_t n = 0; n < N_; n += lanes) {
                const vector g = *(const vector*)(dS + n);
                for (int k = 0; k < count; ++k) sum[k] = *(const vector*)(C_ + (d + k) * N_ + n) * g + sum[k];
            }
            for (int k = 0; k < count; ++k) df[d + k] += Real(LN_2) * sum_of<Real>(sum[k]);
        }
    }

    const Sizes& sizes_;
    const Real* C_;
    const int64_t N_;
    const bool want_gradient_;
    Aligned<Real> S_, dS_;
    std::vector<char> made_;
    int64_t row_[2] = {-1, -1};
};

template <class Real, class Map>
struct Contrast {
    Sizes sizes;
    const Real* features_BhwD;
    const Map* instances_BHW;
    const int32_t* row_of_BO;
    int64_t num_objects;
    const Real* candidates_DN;
    Candidates candidates;
    const Real* weight_P;
    Real shift;
    bool running_maximum, want_gradient;
    std::vector<Real> shares;

    bool collect(int64_t image, int64_t i, int64_t j, std::vector<Pixel<Real>>& pixels) const {
        pixels.clear();
        const int32_t* rows = row_of_BO + image * num_objects;
        for_pixels(instances_BHW + image * sizes.H() * sizes.W(), i, j, sizes, [&](int64_t y, int64_t x, Map instance) {
            if (instance < 1 || instance > num_objects || rows[instance - 1] < 0) return;
            const Real down = shares[y], right = shares[x];
            const int64_t target = rows[instance - 1];
            pixels.push_back({{(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right}, {}, 0, weight_P[target], false, target,
                              candidates.column_of[target]});
        });
        return !pixels.empty();
    }

    void strip(const Strip& strip, size_t number, StripGradients<Real>& gradients, double* loss, int64_t* correct) const {
        const Real* image = features_BhwD + strip.image * sizes.h * sizes.w * sizes.width_D;
        const auto dfeature = [&](int64_t row, int64_t column) { return gradients.at(number, row, column); };
        FeatureRows<Real> rows(sizes, candidates_DN, candidates.width_N, want_gradient);
        Cell<Real> cell(candidates, shift, running_maximum, want_gradient);
        std::vector<std::vector<Pixel<Real>>> pixels(sizes.w + 1);
        for (int64_t i = strip.first; i < strip.last; ++i) {
            std::vector<char> columns(sizes.w, 0);
            bool any = false;
            for (int64_t j = -1; j < sizes.w; ++j) {
                if (!collect(strip.image, i, j, pixels[j + 1])) continue;
                const Corners corners(i, j, sizes);
                columns[corners.left] = columns[corners.right] = any = true;
            }
            if (!any) continue;
            const Corners edge(i, 0, sizes);
            rows.need(image, edge.top, columns, dfeature);
            rows.need(image, edge.bottom, columns, dfeature);
            for (int64_t j = -1; j < sizes.w; ++j) {
                if (pixels[j + 1].empty()) continue;
                const Corners corners(i, j, sizes);
                const Real *f[4], *S[4];
                Real *df[4], *dS[4];
                for (int k = 0; k < 4; ++k) {
                    f[k] = image + (corners.row(k) * sizes.w + corners.column(k)) * sizes.width_D;
                    S[k] = rows.S(corners.row(k), corners.column(k));
                    df[k] = want_gradient ? dfeature(corners.row(k), corners.column(k)) : nullptr;
                    dS[k] = want_gradient ? rows.dS(corners.row(k), corners.column(k)) : nullptr;
                }
                for (auto& pixel : pixels[j + 1]) {
                    pixel.inverse = inverse_length(f, pixel.weight, sizes.width_D, &pixel.too_short);
                    for (int k = 0; k < 4; ++k) pixel.scaled[k] = pixel.weight[k] * pixel.inverse;
                }
                Real M[4][4] = {};
                cell.add(S, want_gradient ? dS : nullptr, pixels[j + 1], M, loss, correct);
                if (want_gradient) subtract_norm_share(f, df, M, sizes.width_D);
            }
        }
        rows.give_back_all(dfeature);
    }

    // False if memory ran out.
    bool run(Real* dfeatures_BhwD, double* loss, int64_t* correct, int num_threads) const {
        const std::vector<Strip> strips = strips_of(sizes);
        StripGradients<Real> gradients(sizes, strips);
        std::vector<double> losses(strips.size(), 0.0);
        std::vector<int64_t> corrects(strips.size(), 0);
        if (!in_parallel(strips.size(), num_threads, [&](size_t s) { strip(strips[s], s, gradients, &losses[s], &corrects[s]); })) return false;
        if (want_gradient) gradients.add_up(dfeatures_BhwD);
        *loss = 0, *correct = 0;
        for (size_t s = 0; s < strips.size(); ++s) *loss += losses[s], *correct += corrects[s];
        return true;
    }
};

template <class Real, class Map>
int contrast(const Real* features, const Map* instances, const int32_t* row_of, const Real* candidates, const uint8_t* excluded, const int64_t* column_of,
             const Real* weight, Real* dfeatures, double* loss, int64_t* correct, const int64_t* sizes, double longest, int num_threads) {
    const int64_t num_objects = sizes[6], N = sizes[7], width_N = sizes[8];
    const double range = longest * LOG2_E;
    return guarded([&] {
        const Contrast<Real, Map> work{{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]}, features, instances, row_of, num_objects, candidates,
                                       {N, width_N, excluded, column_of}, weight, Real(range), !(range < RUNNING_MAXIMUM_FROM), dfeatures != nullptr,
                                       far_shares<Real>(sizes[4])};
        return work.run(dfeatures, loss, correct, num_threads);
    });
}

}  // namespace
}  // namespace mcdist

#define MCDIST_CONTRAST(NAME, REAL, MAP)                                                                                                              \
    extern "C" int NAME(const REAL* features, const MAP* instances, const int32_t* row_of, const REAL* candidates, const uint8_t* excluded,           \
                        const int64_t* column_of, const REAL* weight, REAL* dfeatures, double* loss, int64_t* correct, const int64_t* sizes,          \
                        double longest, int num_threads) {                                                                                            \
        return mcdist::contrast<REAL, MAP>(features, instances, row_of, candidates, excluded, column_of, weight, dfeatures, loss, correct, sizes,      \
                                           longest, num_threads);                                                                                     \
    }

MCDIST_CONTRAST(mask_contrast_float_int16, float, int16_t)
MCDIST_CONTRAST(mask_contrast_float_int32, float, int32_t)
MCDIST_CONTRAST(mask_contrast_double_int16, double, int16_t)
MCDIST_CONTRAST(mask_contrast_double_int32, double, int32_t)

extern "C" int mcdist_vector_bytes() { return mcdist::VECTOR_BYTES; }
