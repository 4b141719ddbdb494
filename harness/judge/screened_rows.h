/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: a tensor of which an engine has measured all rows at once (mp_engine's
 * measure_act and measure_combine). Figures of a row count where all of it is plain and within its bound; the
 * stage's judge measures the others, and a few of those that count as well. */
#ifndef MP_HARNESS_SCREENED_ROWS_H
#define MP_HARNESS_SCREENED_ROWS_H

#include "harness/judge/judge_stage.h"
#include "harness/judge/screened.h"

/* Measures a row of the stage here. */
typedef void mp_judge_row(const void *ctx, int64_t row, mp_measure *part, double sums[3]);

/* Zeroed at first: no engine has measured anything, and the judge measures all rows. */
typedef struct mp_screened_rows {
    mp_row_figures *figures; /* of all rows, for the engine to fill in */
    unsigned char *mark;     /* which of them count */
    mp_screened screened;
    bool measured; /* by the engine */
} mp_screened_rows;

/* Room for the figures of the stage's rows. Freed by the caller, after an error too. MP_EMEMORY. */
mp_status mp_screened_rows_alloc(mp_screened_rows *rows, const mp_stage_judge *s, mp_error *err);
/* Takes what the engine made of them: status of its measure, and its error. MP_EUNSUPPORTED is none. Rows
 * that are measured again are others for another `which`. */
mp_status mp_screened_rows_take(mp_screened_rows *rows, const mp_stage_judge *s, mp_status status,
                                uint64_t which, const mp_error *own, mp_error *err);
/* Has the rows made that the judge reads (mp_tensor_make_rows): `each` of t for a row of the stage, where
 * `at` says, [rows], or NULL, one behind the other. */
void mp_screened_rows_make(const mp_screened_rows *rows, const mp_stage_judge *s, const mp_tensor *t,
                           const int64_t *at, int64_t each);
/* One row, by its figures, by the judge, or both; from several threads at once. Whether by the judge. */
bool mp_screened_rows_judge(mp_screened_rows *rows, mp_stage_judge *s, int64_t row, mp_judge_row *judge,
                            const void *ctx, mp_measure *part);
/* As mp_screened_end. */
mp_status mp_screened_rows_end(const mp_screened_rows *rows, const mp_stage_judge *s, mp_error *err);
void mp_screened_rows_free(mp_screened_rows *rows);

#endif
