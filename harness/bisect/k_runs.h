/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/bisect/: the runs of bisect k, each of the whole case with other inputs zeroed or
 * halved. */
#ifndef MP_HARNESS_K_RUNS_H
#define MP_HARNESS_K_RUNS_H

#include "base/text.h"
#include "moeparity/suite.h"

#include <jansson.h>

/* What a run has shown of the stage. */
typedef struct mp_k_shown {
    bool parts;
    int64_t compared, differing, max_ulps; /* of bits, or of bounds, where these are judged by */
    int64_t failed;                        /* beyond the bound */
    double max_abs;                        /* from float64 */
} mp_k_shown;

typedef struct mp_k_runs {
    const mp_matrix *row;
    mp_suite_options how;
    mp_run_info *info;
    mp_stage stage,
        seen; /* the GEMM, and the stage whose output shows it: its own, if the subject shows it */
    bool by_bits;
    json_t *tries; /* each run, in order; owned */
    int count;
} mp_k_runs;

/* The case as it is: finds out what is seen of the stage, and by what it is judged. *v is initialised, and
 * freed by the caller, after an error too, here and in the next. */
mp_status mp_k_run_whole(mp_k_runs *s, int64_t terms, mp_k_shown *r, mp_verdict *v, mp_error *err);
/* With `edit` behind the edits of the line; k terms are left of each sum. */
mp_status mp_k_run(mp_k_runs *s, const char *what, int64_t k, const char *edit, mp_k_shown *r, mp_verdict *v,
                   mp_error *err);

#endif
