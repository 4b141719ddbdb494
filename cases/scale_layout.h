/* SPDX-License-Identifier: Apache-2.0 */
/* The layout in which tensor cores of sm_100 read scales of blocks along k ("swizzled 128x4"): tiles of 128
 * rows and 4 columns, 512 bytes each, one after another along the columns. In a tile row r lies in line
 * r mod 32, at place r / 32 of the four that share one, with its 4 columns side by side. Rows are padded to
 * 128 and columns to 4; what lies in the padding is nobody's. Source: the cuBLAS documentation, "1D block
 * scaling factors layout". */
#ifndef MP_CASES_SCALE_LAYOUT_H
#define MP_CASES_SCALE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

/* Rows, columns and elements that a matrix of scales takes, with its padding. */
int64_t mp_swizzled_rows(int64_t rows);
int64_t mp_swizzled_columns(int64_t columns);
int64_t mp_swizzled_count(int64_t rows, int64_t columns);
/* Where the scale of a row and a column lies, as an index of elements; columns: of the matrix. */
int64_t mp_swizzled_index(int64_t row, int64_t column, int64_t columns);
/* The inverse: what lies there. False: padding of a matrix of rows x columns. */
bool mp_swizzled_place(int64_t index, int64_t rows, int64_t columns, int64_t *row, int64_t *column);

#endif
