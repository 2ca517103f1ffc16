// Pixels by pair of numbers on a CPU: see joint_counts/native.py for what it computes.
//
// Maps are flat, so RUN pixels are looked at together first: where all have the same pair, they are counted in one addition. Elsewhere, as
// in noise, each pixel is counted for itself, in one of TABLES tables by turns: an addition need not wait for the one before it.
#include "../cells.h"

namespace mcdist {
namespace {

constexpr int64_t RUN = 8, TABLES = 4;  // TABLES is a power of two
constexpr int64_t LARGEST_COPIED = 1 << 14;  // cells of a table that is worth TABLES copies

template <class Row, class Column>
struct Joint {
    int64_t num_rows, num_columns, skipped;
    std::vector<int64_t> cells;
    int64_t num_tables, stray_row = -1, stray_column = -1;

    Joint(int64_t num_rows, int64_t num_columns, int64_t skipped)
        : num_rows(num_rows), num_columns(num_columns), skipped(skipped), num_tables(num_rows * num_columns <= LARGEST_COPIED ? TABLES : 1) {
        cells.resize(num_tables * num_rows * num_columns);
    }

    // Whether RUN values are the same: all words of 8 bytes are, and one of them stays itself where its values trade places.
    template <class T>
    static bool is_flat(const T* values) {
        constexpr int64_t num_words = RUN * sizeof(T) / 8;
        uint64_t words[num_words];
        std::memcpy(words, values, sizeof words);
        uint64_t differ = sizeof(T) < 8 ? words[0] ^ (words[0] << (8 * sizeof(T) % 64) | words[0] >> (64 - 8 * sizeof(T)) % 64) : 0;
        for (int64_t w = 1; w < num_words; ++w) differ |= words[w] ^ words[0];
        return differ == 0;
    }

    void add(const Row* row, const Column* column, int64_t place, int64_t table, int64_t num_pixels) {
        if (int64_t(column[place]) == skipped) return;
        if (uint64_t(row[place]) >= uint64_t(num_rows)) {
            if (stray_row < 0) stray_row = place;
        } else if (uint64_t(column[place]) >= uint64_t(num_columns)) {
            if (stray_column < 0) stray_column = place;
        } else {
            cells[(table * num_rows + int64_t(row[place])) * num_columns + int64_t(column[place])] += num_pixels;
        }
    }

    void run(const Row* row, const Column* column, int64_t num_pixels) {
        int64_t place = 0;
        for (; place + RUN <= num_pixels; place += RUN) {
            if (is_flat(row + place) && is_flat(column + place)) {
                add(row, column, place, 0, RUN);
            } else {
                for (int64_t k = 0; k < RUN; ++k) add(row, column, place + k, k & (num_tables - 1), 1);
            }
        }
        for (; place < num_pixels; ++place) add(row, column, place, 0, 1);
    }
};

// counts [R, C] += the pixels of each pair; strays: the places of the first pixel that counts and whose row, or column, is beyond the table.
template <class Row, class Column>
int joint_counts(const Row* row, const Column* column, int64_t* counts, int64_t* strays, const int64_t* sizes) {
    return guarded([&] {
        Joint<Row, Column> joint(sizes[1], sizes[2], sizes[3]);
        joint.run(row, column, sizes[0]);
        const int64_t num_cells = sizes[1] * sizes[2];
        for (size_t cell = 0; cell < joint.cells.size(); ++cell) counts[int64_t(cell) % num_cells] += joint.cells[cell];
        strays[0] = joint.stray_row, strays[1] = joint.stray_column;
        return true;
    });
}

}  // namespace
}  // namespace mcdist

#define MCDIST_JOINT(SUFFIX, ROW, COLUMN)                                                                                                            \
    extern "C" int joint_counts_##SUFFIX(const ROW* row, const COLUMN* column, int64_t* counts, int64_t* strays, const int64_t* sizes, int) {       \
        return mcdist::joint_counts(row, column, counts, strays, sizes);                                                                             \
    }

MCDIST_JOINT(uint8_uint8, uint8_t, uint8_t)
MCDIST_JOINT(int16_uint8, int16_t, uint8_t)
MCDIST_JOINT(uint16_uint8, uint16_t, uint8_t)
MCDIST_JOINT(int64_uint8, int64_t, uint8_t)
MCDIST_JOINT(int64_int64, int64_t, int64_t)
