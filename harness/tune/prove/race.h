/* SPDX-License-Identifier: Apache-2.0 */
/* The speed of a tuned file beside that of another one, key by key.
 *
 * The new file's tiles are timed against the old one's in rounds (harness/subjects/rounds.h). A key passes
 * where the whole interval of the ratio lies at or below 1 + threshold, and loses where it lies above; in
 * between the rounds have not decided it, which is no pass.
 */
#ifndef MP_HARNESS_TUNE_RACE_H
#define MP_HARNESS_TUNE_RACE_H

#include "harness/subjects/rounds.h"
#include "harness/tune/prove/verify.h"
#include "moeparity/subject.h"

typedef enum mp_race_outcome {
    MP_RACE_KEPT,      /* not slower than the threshold allows */
    MP_RACE_LOST,      /* slower */
    MP_RACE_UNDECIDED, /* the interval holds the threshold */
    MP_RACE_NOT_RUN    /* why says it */
} mp_race_outcome;
const char *mp_race_outcome_name(mp_race_outcome outcome);

typedef struct mp_race {
    int64_t key;
    mp_tile old_up, old_down, new_up, new_down;
    double old_ms, new_ms;   /* medians of one run, all stages */
    double ratio, low, high; /* new over old: median of the rounds, and its interval */
    int rounds;
    mp_race_outcome outcome;
    char why[512];
} mp_race;

typedef struct mp_race_options {
    const char *subject;
    const mp_tune_target *old; /* NULL: the built-in defaults */
    int rounds;
    double threshold; /* 0.05: may take 5 % longer */
} mp_race_options;

/* For each key of the plan whose tiles differ from those of the old file. *races is the caller's to
 * free. A tile that cannot run is MP_RACE_NOT_RUN. MP_EUNSUPPORTED: the subject cannot run here; a plug-in,
 * which is never loaded into this process. */
mp_status mp_race_keys(const mp_tune_plan *plan, const mp_race_options *options, mp_race **races,
                       size_t *count, mp_error *err);

/* Fills ratio, low, high and outcome. */
void mp_race_judge(mp_ratio ratio, double threshold, mp_race *race);

#endif
