/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/bisect/: what bisect k searches for, and what it makes of what it finds. */
#ifndef MP_HARNESS_K_SEARCH_H
#define MP_HARNESS_K_SEARCH_H

#include "harness/bisect/k_runs.h"

/* Sums are shortened from one of their ends: what is left are the first groups, or the last ones. */
typedef struct mp_k_direction {
    bool last;
    int8_t *parts; /* [groups + 1]: with so many groups left; -1: not tried */
    int64_t found; /* the fewest groups left with which it parts; -1: none */
    mp_k_shown shown;
    mp_verdict v; /* of that run */
} mp_k_direction;

typedef struct mp_k_search {
    mp_k_runs runs;
    const mp_case *c;
    const char *tensor; /* that is zeroed */
    int64_t terms, group, groups;
    mp_k_direction first, last;
    json_t *report;
} mp_k_search;

/* Terms in the first so many groups. */
int64_t mp_k_end_of(const mp_k_search *s, int64_t groups);
/* Appends edits that leave the terms from .. to-1 alone. */
void mp_k_keep(const mp_k_search *s, int64_t from, int64_t to, mp_text *edit);

/* Once both directions are searched: the ends and what there is to say of them go into the report, and the
 * conclusion into *text; up to 3 runs more find out of what kind the difference is. */
mp_status mp_k_tell_found(mp_k_search *s, bool exhaustive, mp_text *text, mp_error *err);

#endif
