/* SPDX-License-Identifier: Apache-2.0 */
/* Which case of one golden stands beside which of another. */
#ifndef MP_HARNESS_GOLDENS_ALIGN_H
#define MP_HARNESS_GOLDENS_ALIGN_H

#include "golden/files.h"

/* How the cases of A are told in the words of B. */
typedef struct mp_align_rules {
    /* Fields that say nothing here, blank-separated: `seed tile tile_down`. NULL: none. */
    const char *ignore;
    /* `TERMS -> FIELDS`, and further ones behind `;`: a case of A that matches the terms (as --match has
     * them; none: every case) has these fields instead: `tile=64x64x64x8x4x3 -> tile=128x128x64x8x4x3`,
     * `-> seed=1`. NULL: none. */
    const char *map;
} mp_align_rules;

/* other[i] is the number in b of the case that stands beside case i of a, SIZE_MAX where there is none;
 * freed by the caller. No case of b stands beside two. MP_EINPUT for a rule that cannot be read, and where
 * the rules make one of two cases of a file: it names both. */
mp_status mp_goldens_align(mp_golden *a, mp_golden *b, const mp_align_rules *rules, size_t **other,
                           mp_error *err);

#endif
