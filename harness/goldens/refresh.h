/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a golden may be replaced by a fresh recording of its cases: what has changed, and what explains it.
 */
#ifndef MP_HARNESS_GOLDENS_REFRESH_H
#define MP_HARNESS_GOLDENS_REFRESH_H

#include "harness/goldens/diff_text.h"

/* What nothing explains, and is refused unless it is allowed by its name:
 *   bits     a tensor differs, and nothing that its stage's bits depend on has changed (explain.h)
 *   inputs   the inputs differ under the same fill version
 *   missing  a tensor that was recorded is not shown any more */
#define MP_REFUSALS(KIND)            \
    KIND(MP_REFUSE_BITS, "bits")     \
    KIND(MP_REFUSE_INPUTS, "inputs") \
    KIND(MP_REFUSE_MISSING, "missing")
#define MP_REFUSAL_OF(kind, name) kind,
typedef enum mp_refusal { MP_REFUSALS(MP_REFUSAL_OF) MP_REFUSAL_COUNT } mp_refusal;
#undef MP_REFUSAL_OF

/* Kinds by name, separated by blanks or commas, as a set with bit 1 << kind. MP_EINPUT names the word that is
 * none. */
mp_status mp_refusals_parse(const char *text, unsigned *kinds, mp_error *err);

typedef struct mp_refresh {
    unsigned allowed; /* kinds that are let through */
    int64_t unchanged, changed, added, removed;
    int64_t refused[MP_REFUSAL_COUNT]; /* cases, that are not allowed */
} mp_refresh;
/* Tells who recorded, where that has changed; then, case by case, each one that is not the same: what is
 * different, and why that is legal or refused. The fill versions may differ, which explains everything. */
mp_status mp_golden_refresh_judge(mp_golden *old, mp_golden *fresh, mp_refresh *refresh, mp_diff_line *line,
                                  void *ctx, mp_error *err);
bool mp_refresh_is_refused(const mp_refresh *refresh);

#endif
