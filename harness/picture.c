/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two levels an octave: the exponent and the first bit behind it. One less than the code of a double is the
 * next smaller one, so that a power of two is the top of its level. */
enum { LOWEST_EXPONENT = -8, BELOW_LEVEL_0 = 2 * (LOWEST_EXPONENT + 1023) - 2, LAST = MP_LEVELS - 1 };

int mp_level(double value) {
    if (value == 0) return 0;
    if (!(value <= 0x1p16)) return LAST;
    uint64_t code;
    memcpy(&code, &value, sizeof code);
    const int level = (int)((code - 1) >> 51) - BELOW_LEVEL_0;
    return level < 1 ? 1 : level;
}

double mp_level_top(int level) {
    if (level <= 0) return 0;
    if (level >= LAST) return (double)INFINITY;
    const double octave = ldexp(1, LOWEST_EXPONENT + (level - 1) / 2);
    return level % 2 ? octave : 1.5 * octave;
}

const char *mp_picture_map_name(mp_picture_map map) {
    static const char *const names[MP_PICTURE_MAPS] = {"ratio", "drift", "steps"};
    return names[map];
}

const char *mp_histogram_name(mp_histogram histogram) {
    static const char *const names[MP_HISTOGRAM_COUNT] = {"ratio", "ulps", "steps"};
    return names[histogram];
}

enum { LEFT_OUT = 255 };

static int cells_of(int64_t count) {
    return count < MP_PICTURE_SIDE ? (int)count : MP_PICTURE_SIDE;
}

/* Sorts the rows by expert: counts, first places, then each row to its own. */
static bool order_by_expert(mp_picture *p, int64_t all, const int32_t *expert) {
    int64_t highest = -1, place = 0;
    for (int64_t row = 0; row < all; row++)
        if (expert[row] > highest) highest = expert[row];
    int64_t *next = calloc((size_t)highest + 2, sizeof *next);
    p->experts = calloc((size_t)highest + 2, sizeof *p->experts);
    if (next == NULL || p->experts == NULL) {
        free(next);
        return false;
    }
    for (int64_t row = 0; row < all; row++)
        if (expert[row] >= 0) next[expert[row]]++;
    for (int64_t e = 0; e <= highest; e++) {
        const int64_t rows = next[e];
        next[e] = place;
        place += rows;
        if (rows > 0) p->experts[p->expert_count++] = (mp_picture_expert){(int32_t)e, rows};
    }
    p->rows = place;
    p->row_cells = cells_of(place);
    for (int64_t row = 0; row < all; row++)
        p->cell_of_row[row] =
            (unsigned char)(expert[row] < 0 ? LEFT_OUT : next[expert[row]]++ * p->row_cells / p->rows);
    free(next);
    return true;
}

mp_status mp_picture_create(int64_t all, int64_t columns, const int32_t *expert, mp_picture **picture,
                            mp_error *err) {
    mp_picture *p = calloc(1, sizeof *p);
    *picture = p;
    if (p == NULL) return mp_fail(err, MP_EMEMORY, "no memory for a picture");
    p->rows = all;
    p->columns = columns;
    p->row_cells = cells_of(all);
    p->column_cells = cells_of(columns);
    p->cell_of_row = malloc((size_t)all + 1);
    p->cell_of_column = malloc((size_t)columns + 1);
    bool there = p->cell_of_row != NULL && p->cell_of_column != NULL;
    for (int64_t n = 0; there && n < columns; n++)
        p->cell_of_column[n] = (unsigned char)(n * p->column_cells / columns);
    for (int64_t row = 0; there && expert == NULL && row < all; row++)
        p->cell_of_row[row] = (unsigned char)(row * p->row_cells / all);
    there = there && (expert == NULL || order_by_expert(p, all, expert));
    if (there) return MP_OK;
    mp_picture_free(p);
    *picture = NULL;
    return mp_fail(err, MP_EMEMORY, "no memory for a picture of %lld rows", (long long)all);
}

void mp_picture_free(mp_picture *picture) {
    if (picture == NULL) return;
    free(picture->cell_of_row);
    free(picture->cell_of_column);
    free(picture->experts);
    free(picture);
}

static void raise_to(unsigned char *cell, unsigned char level) {
    unsigned char there = __atomic_load_n(cell, __ATOMIC_RELAXED);
    while (there < level &&
           !__atomic_compare_exchange_n(cell, &there, level, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

void mp_picture_mark(mp_picture *picture, mp_picture_map map, int64_t row, int64_t column, int level) {
    const int at = picture->cell_of_row[row];
    if (at == LEFT_OUT) return;
    raise_to(&picture->cell[map][at][picture->cell_of_column[column]], (unsigned char)(level + 1));
}

void mp_picture_mark_row(mp_picture *picture, mp_picture_map map, int64_t row) {
    const int at = picture->cell_of_row[row];
    for (int n = 0; at != LEFT_OUT && n < picture->column_cells; n++) raise_to(&picture->cell[map][at][n], 1);
}

void mp_picture_settle(mp_picture *p) {
    enum { CLEAN_SIDE = 32 };
    int64_t bad = p->count[MP_HISTOGRAM_RATIO][LAST];
    for (int level = 1; level < MP_LEVELS; level++) {
        bad += p->count[MP_HISTOGRAM_STEPS][level];
        if (level < LAST && mp_level_top(level) > 1) bad += p->count[MP_HISTOGRAM_RATIO][level];
    }
    const int rows = p->row_cells < CLEAN_SIDE ? p->row_cells : CLEAN_SIDE;
    const int columns = p->column_cells < CLEAN_SIDE ? p->column_cells : CLEAN_SIDE;
    if (bad > 0 || (rows == p->row_cells && columns == p->column_cells)) return;
    for (int map = 0; map < MP_PICTURE_MAPS; map++)
        for (int i = 0; i < p->row_cells; i++)
            for (int n = 0; n < p->column_cells; n++) {
                unsigned char *to = &p->cell[map][i * rows / p->row_cells][n * columns / p->column_cells];
                const unsigned char from = p->cell[map][i][n];
                const bool first = i * rows % p->row_cells < rows && n * columns % p->column_cells < columns;
                *to = first || from > *to ? from : *to; /* what was there has gone where it belongs before */
            }
    p->row_cells = rows;
    p->column_cells = columns;
    free(p->cell_of_row);
    free(p->cell_of_column);
    p->cell_of_row = p->cell_of_column = NULL; /* they are of the cells that were */
}
