/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that an engine measured itself (mp_engine's measure_gemm). Some of them come with their float64 too:
 * these are measured again here, and where the engine has other figures nothing it says counts. */
#ifndef MP_HARNESS_SCREENED_H
#define MP_HARNESS_SCREENED_H

#include "harness/judge/measure.h"

/* Of a whole tensor; shared by the threads. Zeroed at first. */
typedef struct mp_screened {
    int64_t taken, again; /* rows, or parts of rows: of which the figures were taken over, and compared */
    bool differs;
    int64_t index; /* of the first row that does, and what of it */
    char what[160];
} mp_screened;

/* Figures of n columns of a row that nobody else measures; index: that of the row's column 0. */
void mp_screened_take(mp_screened *screened, mp_measure *m, int64_t index, int64_t n,
                      const mp_row_figures *figures, double sums[3]);
/* So many rows of a part were taken. */
void mp_screened_count(mp_screened *screened, int64_t rows);
/* Figures of what `own` and own_sums have measured here, and nothing else. */
void mp_screened_compare(mp_screened *screened, const mp_measure *own, const double own_sums[3],
                         int64_t index, int64_t n, const mp_row_figures *figures);
/* Behind the last of them: MP_EDEVICE where the engine had others, or let none be measured again. */
mp_status mp_screened_end(const mp_screened *screened, const char *engine, mp_error *err);

#endif
