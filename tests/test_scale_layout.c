/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/scale_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* The device's function, compiled for the CPU. */
#define __device__ static
#define __forceinline__ inline
#define SWIZZLED 1
#include "kernels/device/scale_place.cuh"

/* The layout as a transposition: padded rows as [tiles][4][32], padded columns as [tiles][4], and the axes 1
 * and 3 of these five exchanged. */
static void it_is_a_transposition(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{1, 1}, {128, 4}, {129, 5}, {300, 7}, {64, 33}, {512, 16}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int64_t rows = shapes[s][0], columns = shapes[s][1], down = (rows + 127) / 128,
                      across = (columns + 3) / 4;
        int64_t at = 0, found = 0;
        assert_int_equal(mp_swizzled_count(rows, columns), down * across * 512);
        for (int64_t a = 0; a < down; a++)
            for (int64_t d = 0; d < across; d++)
                for (int64_t c = 0; c < 32; c++)
                    for (int64_t b = 0; b < 4; b++)
                        for (int64_t e = 0; e < 4; e++, at++) {
                            const int64_t row = (a * 4 + b) * 32 + c, column = d * 4 + e;
                            int64_t r, k;
                            const bool there = mp_swizzled_place(at, rows, columns, &r, &k);
                            assert_int_equal(there, row < rows && column < columns);
                            assert_true(r == row && k == column);
                            assert_int_equal(mp_swizzled_index(row, column, columns), at);
                            found += there;
                        }
        assert_int_equal(found, rows * columns); /* each scale once */
    }
}

/* The device knows the strides of the padded matrix, as mp_case_strides gives them, and no number of columns.
 */
static void the_device_finds_the_same(void **state) {
    (void)state;
    const int64_t rows[] = {1, 31, 33, 129, 700}, columns[] = {1, 3, 4, 5, 33};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
            for (int64_t i = 0; i < rows[r] * columns[k]; i++) {
                const int64_t row = i / columns[k], column = i % columns[k];
                assert_int_equal(scale_place(row, column, mp_swizzled_columns(columns[k]), 1),
                                 mp_swizzled_index(row, column, columns[k]));
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_a_transposition),
                                       cmocka_unit_test(the_device_finds_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
