/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of 16 bits, rows for columns, in registers: rounds in which neighbours change places. */
#ifndef MP_PREDICT_TRANSPOSE_H
#define MP_PREDICT_TRANSPOSE_H

#include <stdint.h>
#include <string.h>

#define MP_TRANSPOSE static inline __attribute__((always_inline))

typedef uint16_t mp_eight_codes __attribute__((vector_size(16)));
typedef uint16_t mp_two_eights __attribute__((vector_size(32))); /* of two rows */

/* tile[t * columns + i] = row[i][k + t] of sixteen rows by eight terms. */
MP_TRANSPOSE void mp_transpose_sixteen(const uint16_t *const row[16], int64_t k, int64_t columns,
                                       uint16_t *tile) {
    mp_two_eights from[8], to[8];
    for (int i = 0; i < 8; i++) {
        mp_eight_codes low,
            high; /* put together in registers: halves that are stored, and read as one, wait */
        memcpy(&low, row[i] + k, sizeof low);
        memcpy(&high, row[i + 8] + k, sizeof high);
        from[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            to[2 * i] = __builtin_shufflevector(from[i], from[i + 4], 0, 16, 1, 17, 2, 18, 3, 19, 8, 24, 9,
                                                25, 10, 26, 11, 27);
            to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 4], 4, 20, 5, 21, 6, 22, 7, 23, 12, 28,
                                                    13, 29, 14, 30, 15, 31);
        }
        memcpy(from, to, sizeof from);
    }
    for (int t = 0; t < 8; t++) memcpy(tile + t * columns, &from[t], sizeof from[t]);
}

#endif
