/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of 16 bits, rows for columns, in registers: rounds in which neighbours change places. */
#ifndef MP_PREDICT_TRANSPOSE_H
#define MP_PREDICT_TRANSPOSE_H

#include <stdint.h>
#include <string.h>

#define MP_TRANSPOSE static inline __attribute__((always_inline))

typedef uint16_t mp_eight_codes __attribute__((vector_size(16)));
typedef uint32_t mp_four_pairs __attribute__((vector_size(16)));

/* tile[k * columns + i] = codes[i][k] of eight rows by eight terms. */
MP_TRANSPOSE void mp_transpose_eight(const uint16_t *const codes[8], int64_t columns, uint16_t *tile) {
    mp_eight_codes from[8], to[8];
    for (int i = 0; i < 8; i++) memcpy(&from[i], codes[i], sizeof from[i]);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            to[2 * i] = __builtin_shufflevector(from[i], from[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(from, to, sizeof from);
    }
    for (int k = 0; k < 8; k++) memcpy(tile + k * columns, &from[k], sizeof from[k]);
}

/* tile[k * columns + i] = codes[i][2k] and, above it, codes[i][2k+1], of four rows by four such pairs. */
MP_TRANSPOSE void mp_transpose_pairs(const uint16_t *const codes[4], int64_t columns, uint32_t *tile) {
    mp_four_pairs from[4], to[4];
    for (int i = 0; i < 4; i++) memcpy(&from[i], codes[i], sizeof from[i]);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) {
            to[2 * i] = __builtin_shufflevector(from[i], from[i + 2], 0, 4, 1, 5);
            to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 2], 2, 6, 3, 7);
        }
        memcpy(from, to, sizeof from);
    }
    for (int k = 0; k < 4; k++) memcpy(tile + k * columns, &from[k], sizeof from[k]);
}

#endif
