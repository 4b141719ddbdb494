/* SPDX-License-Identifier: Apache-2.0 */
// Where the scale of a row and a column lies in its matrix: by strides, or with -DSWIZZLED=1 in tiles of 128
// rows and 4 columns, which cases/scale_layout.h describes; `row_step` is then the padded number of columns.
#pragma once

__device__ __forceinline__ long long scale_place(long long row, long long column, long long row_step,
                                                 long long column_step) {
#if SWIZZLED
    (void)column_step;
    return row / 128 * 128 * row_step + column / 4 * 512 + row % 32 * 16 + row % 128 / 32 * 4 + column % 4;
#else
    return row * row_step + column * column_step;
#endif
}
