/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures being made, and as JSON. */
#ifndef MP_HARNESS_PICTURE_H
#define MP_HARNESS_PICTURE_H

#include "moeparity/picture.h"
#include "moeparity/status.h"

#include <jansson.h>

/* An empty picture of a stage's output with `all` rows. expert[row], which may be NULL, is that of each row,
 * a number below 0 where the row is left out; without it every row is there in its own order. MP_EMEMORY. */
mp_status mp_picture_create(int64_t all, int64_t columns, const int32_t *expert, mp_picture **picture,
                            mp_error *err);
void mp_picture_free(mp_picture *picture); /* NULL is fine */

/* An element at `row` and `column` of the stage has this level; threads may do so at the same time. Rows that
 * are left out are passed over. */
void mp_picture_mark(mp_picture *picture, mp_picture_map map, int64_t row, int64_t column, int level);
/* Nothing of the row is above zero, so far. */
void mp_picture_mark_row(mp_picture *picture, mp_picture_map map, int64_t row);

/* All is measured: a stage in which nothing fails and all bits are the predicted ones is told in fewer
 * cells. */
void mp_picture_settle(mp_picture *picture);

/* A level is one character, `.ABC...XYZabc...w!`; histograms are counts by it, and a map is one text, cell by
 * cell and row by row, in which a number says how often the character before it stands: "A12B." is 12 As, a B
 * and a zero. `-` is a cell of which nothing was measured. */
json_t *mp_picture_to_json(const mp_picture *picture);
/* MP_EINPUT names the key and what was expected. *picture is NULL then. */
mp_status mp_picture_from_json(const json_t *json, mp_picture **picture, mp_error *err);

#endif
