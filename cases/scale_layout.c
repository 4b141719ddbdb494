/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/scale_layout.h"

enum { TILE_ROWS = 128, TILE_COLUMNS = 4, LINES = 32, TILE = TILE_ROWS * TILE_COLUMNS };

static int64_t tiles(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

int64_t mp_swizzled_rows(int64_t rows) {
    return tiles(rows, TILE_ROWS) * TILE_ROWS;
}

int64_t mp_swizzled_columns(int64_t columns) {
    return tiles(columns, TILE_COLUMNS) * TILE_COLUMNS;
}

int64_t mp_swizzled_count(int64_t rows, int64_t columns) {
    return mp_swizzled_rows(rows) * mp_swizzled_columns(columns);
}

int64_t mp_swizzled_index(int64_t row, int64_t column, int64_t columns) {
    const int64_t tile = row / TILE_ROWS * tiles(columns, TILE_COLUMNS) + column / TILE_COLUMNS;
    const int64_t line = row % LINES, place = row % TILE_ROWS / LINES;
    return tile * TILE + (line * (TILE_ROWS / LINES) + place) * TILE_COLUMNS + column % TILE_COLUMNS;
}

bool mp_swizzled_place(int64_t index, int64_t rows, int64_t columns, int64_t *row, int64_t *column) {
    const int64_t across = tiles(columns, TILE_COLUMNS), tile = index / TILE, within = index % TILE;
    const int64_t line = within / (TILE / LINES), place = within / TILE_COLUMNS % (TILE_ROWS / LINES);
    *row = tile / across * TILE_ROWS + place * LINES + line;
    *column = tile % across * TILE_COLUMNS + within % TILE_COLUMNS;
    return *row < rows && *column < columns;
}
