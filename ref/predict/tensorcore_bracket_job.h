/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the brackets (ref/predict/tensorcore_bracket.h): a task on its way. tensorcore_bracket.c settles
 * its results, tensorcore_bracket_open.c takes the steps of what is left open. */
#ifndef MP_PREDICT_TENSORCORE_BRACKET_JOB_H
#define MP_PREDICT_TENSORCORE_BRACKET_JOB_H

#include "ref/predict/tensorcore_bracket.h"
#include "ref/predict/tensorcore_bracket_pack.h"

/* Rows are packed so many at once: a panel is read once for them all. */
enum { MP_TC_BRACKET_PACKED_ROWS = 128, MP_TC_BRACKET_PANELS = MP_SLAB_COLUMNS / MP_TC_BRACKET_COLUMNS };

typedef struct mp_tc_bracket_workspace {
    mp_tc_bracket_side row[MP_TC_BRACKET_PACKED_ROWS], column[MP_SLAB_COLUMNS];
    uint64_t open[MP_TC_BRACKET_PACKED_ROWS][MP_TC_BRACKET_PANELS]; /* a bit for every column */
    /* Behind it, with ROWS rows that are packed at once: */
    float *rows, *panels;                     /* [ROWS / 16, k, 16]; [PANELS, k, COLUMNS] */
    int8_t *row_exponents, *column_exponents; /* [ROWS / COLUMNS, k, COLUMNS]; [PANELS, k, COLUMNS] */
    float *row_norms, *column_norms;          /* [parts, ROWS]; [parts, MP_SLAB_COLUMNS] */
    uint16_t *row_codes, *column_codes;       /* [ROWS, k]; [MP_SLAB_COLUMNS, k] */
    float *numbers;                           /* [k] of a row, for lanes */
    int32_t *exponents;                       /* [k] of a row, for lanes */
    int32_t *hidden;                          /* [steps] */
    uint16_t *lanes;                          /* [k, MP_TC_LANES] */
    uint32_t *a_code, *w_code;                /* [k] for the definition */
} mp_tc_bracket_workspace;

typedef struct mp_tc_bracket_job {
    const mp_tc_kernel *kernel;
    const mp_tc_parts *parts;
    const mp_gemm_f32_call *call;
    const mp_gemm_task *task;
    mp_tc_bracket_form form;
    mp_tc_bracket_workspace *s;
    bool has_column_exponents;
    int64_t redone;
} mp_tc_bracket_job;

/* Of the part that begins at `first`. */
static inline int64_t mp_tc_bracket_part_terms(const mp_tc_bracket_form *f, int64_t first) {
    return f->k - first < f->part ? f->k - first : f->part;
}

/* Where a slot's columns of the task are stored; NULL: nowhere. */
uint16_t *mp_tc_bracket_out(const mp_tc_bracket_job *job, int64_t slot);

/* All results that are open, so many, of the `count` rows that are packed. */
void mp_tc_bracket_take_steps(mp_tc_bracket_job *job, const int64_t *slot, int64_t count, int64_t opened);

#endif
