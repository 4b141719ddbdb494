/* SPDX-License-Identifier: Apache-2.0 */
/* What people look at of a stage: how its elements are distributed, and a map of its output. Made only where
 * it is asked for (mp_settings.figures).
 *
 * All of it is told in levels, which are the same for error/bound, drift and ulps: 0 is zero, level k from 1
 * on ends at mp_level_top(k): 2^-8, 1.5*2^-8, 2^-7, ... 1, 1.5, 2, 3, 4, ... 2^16, the top included, so that
 * what just keeps its bound is not above 1. The last level has all beyond, infinities and NaN. */
#ifndef MOEPARITY_PICTURE_H
#define MOEPARITY_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MP_LEVELS = 51, MP_PICTURE_SIDE = 64 };

/* The level of a value that is not negative; NaN is in the last one. */
int mp_level(double value);
/* The largest value of a level: 0 of level 0, Inf of the last one. */
double mp_level_top(int level);

typedef enum mp_picture_map {
    MP_PICTURE_RATIO, /* error over bound: above 1 fails */
    MP_PICTURE_DRIFT, /* max_drift of mp_stage_figures, of each cell */
    MP_PICTURE_STEPS, /* ulps to the predicted bits, in steps of the dtype */
    MP_PICTURE_MAPS
} mp_picture_map;
const char *mp_picture_map_name(mp_picture_map map); /* "ratio" ... */

typedef enum mp_histogram {
    MP_HISTOGRAM_RATIO,
    MP_HISTOGRAM_ULPS, /* the error in ulps of the dtype at the float64 value */
    MP_HISTOGRAM_STEPS,
    MP_HISTOGRAM_COUNT
} mp_histogram;
const char *mp_histogram_name(mp_histogram histogram); /* "ratio" ... */

/* Rows of one expert, one behind the other in the picture. */
typedef struct mp_picture_expert {
    int32_t expert;
    int64_t rows;
} mp_picture_expert;

/* Of the output of one stage, `rows` rows of `columns`. Its rows are in align's order: by expert, within one
 * by slot, those of filtered slots left out; so the first of the experts has rows 0 .. experts[0].rows - 1.
 * Where a row is a token (combine), or the ids are not known, they are in their own order, and there are no
 * experts.
 *
 * Row p lies in the cells of row p * row_cells / rows (rounded down), column n in column
 * n * column_cells / columns. A cell holds the level of its largest element plus one; 0: none was measured.
 *
 * GEMM tiles begin at every tile_rows-th row of each expert and at every tile_columns-th column; 0: not
 * known, or the stage has none. */
typedef struct mp_picture {
    int64_t count[MP_HISTOGRAM_COUNT][MP_LEVELS]; /* elements */
    int64_t rows, columns;
    int row_cells, column_cells; /* at most MP_PICTURE_SIDE */
    unsigned char cell[MP_PICTURE_MAPS][MP_PICTURE_SIDE][MP_PICTURE_SIDE];
    int64_t tile_rows, tile_columns;
    mp_picture_expert *experts; /* of the picture */
    int expert_count;
    unsigned char *cell_of_row, *cell_of_column; /* by row and column of the stage; while it is measured */
} mp_picture;

#ifdef __cplusplus
}
#endif

#endif
