/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/scale_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_a_transposition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
