// How many vector multiply-adds a second do this machine's cores do? Twelve independent chains a thread, each in a register.
#include <chrono>
#include <cstdint>

typedef float vector __attribute__((vector_size(64)));

extern "C" double multiply_adds_per_s(int64_t rounds, int num_threads) {
    double total = 0;
    const auto began = std::chrono::steady_clock::now();
#pragma omp parallel num_threads(num_threads) reduction(+ : total)
    {
        vector sum[12];
        for (int c = 0; c < 12; ++c) sum[c] = vector{} + 0.001f * float(c + 1);
        const vector factor = vector{} + 0.999999f, term = vector{} + 1e-7f;
        for (int64_t round = 0; round < rounds; ++round)
            for (int c = 0; c < 12; ++c) sum[c] = sum[c] * factor + term;
        for (int c = 0; c < 12; ++c) total += sum[c][c % 16];
    }
    const double took_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return total > -1 ? 16.0 * 12 * rounds * num_threads / took_s : 0;
}
