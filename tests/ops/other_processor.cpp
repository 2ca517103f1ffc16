// Computes both operators on numbers that need no library to make, and prints the bytes of a vector, then every result: the same program on any processor.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" int mcdist_vector_bytes();
extern "C" int mask_pool_float_int16(const float*, const int16_t*, float*, int64_t*, const int64_t*, int);
extern "C" int mask_contrast_float_int16(const float*, const int16_t*, const int32_t*, const float*, const uint8_t*, const int64_t*, const float*, float*,
                                         double*, int64_t*, const int64_t*, double, int);

static uint32_t state = 1;
static float next_number() {  // in [-1, 1)
    state = state * 1664525u + 1013904223u;
    return float(state >> 8) / 8388608.0f - 1.0f;
}

static float* aligned(int64_t n) { return static_cast<float*>(std::aligned_alloc(64, (n * 4 + 63) / 64 * 64)); }

int main() {
    const int64_t B = 2, D = 20, width_D = 32, h = 5, w = 6, stride = 4, objects = 2, N = 37, width_N = 48;
    float *features = aligned(B * h * w * width_D), *candidates = aligned(D * width_N);
    for (int64_t n = 0; n < B * h * w * width_D; ++n) features[n] = n % width_D < D ? next_number() : 0.0f;
    for (int64_t n = 0; n < D * width_N; ++n) candidates[n] = n % width_N < N ? next_number() : 0.0f;
    std::vector<int16_t> instances(B * h * stride * w * stride);
    for (size_t n = 0; n < instances.size(); ++n) instances[n] = int16_t(n / 7 % 4) - 1;
    std::vector<float> sums(B * objects * D), gradient(B * h * w * D), weight(N, 1.0f);
    std::vector<int64_t> counts(B * objects), column_of(N);
    for (int64_t n = 0; n < N; ++n) column_of[n] = n;
    const std::vector<int32_t> row_of{0, 1, 2, 3};
    const int64_t pool[] = {B, D, h, w, stride, width_D, objects}, contrast[] = {B, D, h, w, stride, width_D, objects, N, width_N};
    double loss = 0;
    int64_t correct = 0;
    if (mask_pool_float_int16(features, instances.data(), sums.data(), counts.data(), pool, 2)) return 1;
    if (mask_contrast_float_int16(features, instances.data(), row_of.data(), candidates, nullptr, column_of.data(), weight.data(), gradient.data(), &loss,
                                  &correct, contrast, 20.0, 2))
        return 1;
    std::printf("%d\n%.9g\n%lld\n", mcdist_vector_bytes(), loss, (long long)correct);
    for (const int64_t count : counts) std::printf("%lld\n", (long long)count);
    for (const float sum : sums) std::printf("%.9g\n", sum);
    for (const float slope : gradient) std::printf("%.9g\n", slope);
    std::free(features), std::free(candidates);
}
