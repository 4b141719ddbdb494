/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: an edit of an input as it is written; edit.h tells the notation. */
#ifndef MP_CASES_EDIT_TEXT_H
#define MP_CASES_EDIT_TEXT_H

#include "moeparity/graph.h"

typedef enum mp_place_kind { MP_PLACE_ONE, MP_PLACE_SLICE, MP_PLACE_REST } mp_place_kind; /* 5; 2:8:2; ... */

typedef struct mp_place {
    mp_place_kind kind;
    bool has_start, has_stop;
    int64_t start, stop, step;
} mp_place;

typedef struct mp_edit {
    char text[128]; /* as written, for messages; a long one ends in dots */
    mp_tensor_id tensor;
    int count; /* of indices */
    mp_place at[MP_MAX_RANK + 1];
    bool multiplies;
    double value;
} mp_edit;

/* Reads the edit at *p, and moves it to the next one, or to the end. MP_EINPUT names the edit and what was
 * expected. */
mp_status mp_edit_read(const char **p, mp_edit *e, mp_error *err);

#endif
