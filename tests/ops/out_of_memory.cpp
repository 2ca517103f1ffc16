// Calls each operator again and again, and lets its first, second, third ... allocation fail. Prints how many calls reported that, by operator.
// An exception that leaves a thread or a function ends this program with a signal.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

extern "C" int mask_pool_float_int16(const float*, const int16_t*, float*, int64_t*, const int64_t*, int);
extern "C" int mask_pool_backward_float_int16(const float*, const int16_t*, const float*, float*, const int64_t*, int);
extern "C" int mask_contrast_float_int16(const float*, const int16_t*, const int32_t*, const float*, const uint8_t*, const int64_t*, const float*, float*,
                                         double*, int64_t*, const int64_t*, double, int);

static std::atomic<long> left{-1};  // allocations before the one that fails; below 0: none fails

static void* allocated(size_t size, size_t alignment) {
    if (left.load() >= 0 && left.fetch_sub(1) == 0) throw std::bad_alloc();
    return std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
}

void* operator new(size_t size) { return allocated(size, 64); }
void* operator new(size_t size, std::align_val_t alignment) { return allocated(size, size_t(alignment)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

template <class Operator>
static void exhaust(const char* name, Operator call) {
    long failed = 0;
    for (long n = 0; n < 10000; ++n) {
        left = n;
        const int code = call();
        const bool was_short = left.load() < 0;
        left = -1;
        if (code != (was_short ? 1 : 0)) std::printf("%s: allocation %ld failed: %d, code %d\n", name, n, int(was_short), code), std::exit(1);
        if (!was_short) break;
        ++failed;
    }
    std::printf("%s %ld\n", name, failed);
}

int main() {
    const int64_t B = 2, D = 16, h = 6, w = 5, stride = 4, objects = 2, N = 4, width_N = 16;
    std::vector<float> features(B * h * w * D, 0.5f), sums(B * objects * D), out(B * h * w * D), candidates(D * width_N, 0.25f), weight(N, 1.0f);
    std::vector<int16_t> instances(B * h * stride * w * stride);
    for (size_t n = 0; n < instances.size(); ++n) instances[n] = int16_t(n % 3);
    std::vector<int64_t> counts(B * objects), column_of{0, 1, 2, 3};
    std::vector<int32_t> row_of{0, 1, 2, 3};
    double loss;
    int64_t correct;
    const int64_t pool[] = {B, D, h, w, stride, D, objects}, contrast[] = {B, D, h, w, stride, D, objects, N, width_N};
    exhaust("pool", [&] { return mask_pool_float_int16(features.data(), instances.data(), sums.data(), counts.data(), pool, 2); });
    exhaust("pool backward", [&] { return mask_pool_backward_float_int16(features.data(), instances.data(), sums.data(), out.data(), pool, 2); });
    exhaust("contrast", [&] {
        return mask_contrast_float_int16(features.data(), instances.data(), row_of.data(), candidates.data(), nullptr, column_of.data(), weight.data(), out.data(),
                                         &loss, &correct, contrast, 4.0, 2);
    });
}
