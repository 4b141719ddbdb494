/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with cases beside making them: sets of them are read, matched, sorted and told. */
#ifndef MP_CASES_CASE_TOOLS_H
#define MP_CASES_CASE_TOOLS_H

#include "moeparity/case.h"

#include <string.h>

/* Name and range of each of a tile's numbers, in that order: one table for case texts and tuned files. */
#define MP_TILE_PARTS 6
typedef struct mp_tile_part {
    const char *name;
    size_t offset; /* in mp_tile */
    int min, max;
    bool power_of_two;
    int also; /* another one that is allowed; 0: none */
} mp_tile_part;
extern const mp_tile_part mp_tile_parts[MP_TILE_PARTS];
static inline bool mp_tile_same(const mp_tile *a, const mp_tile *b) {
    return memcmp(a, b, sizeof *a) == 0; /* ints alone */
}
int *mp_tile_at(mp_tile *tile, int part);
bool mp_tile_part_allows(int part, int64_t value);
void mp_tile_part_expected(int part, char text[64]); /* "a power of two in 32..256" */

/* Applies `name=value ...` without validating: for overrides that are completed later. */
mp_status mp_case_apply(mp_case *c, const char *text, mp_error *err);
/* Gives the fields of these blank-separated names their defaults, without validating. MP_EINPUT for a name
 * that is no field's. */
mp_status mp_case_reset(mp_case *c, const char *names, mp_error *err);
int mp_case_compare(const mp_case *a, const mp_case *b); /* total order in field-list order; 0 when equal */

/* Whether weights, biases and all else that is neither of a token nor of a slot has the same shapes and bits
 * in both cases, by the fields that it is filled by. */
bool mp_case_same_weights(const mp_case *a, const mp_case *b);

/* True when `expr` matches the case: blank-separated terms, all of which must hold: `name=value`,
 * `name!=value`, `name<value`, `name>value`, `name<=value`, `name>=value` (numbers), `model=name` or
 * `model!=name` (the shape of a published model), or a bare word that must occur in the canonical text.
 * MP_EINPUT for an unknown name or value, and where there is no term. */
mp_status mp_case_match(const mp_case *c, const char *expr, bool *matched, mp_error *err);

/* For help and docs: prints one line per field with default and allowed values. */
void mp_case_describe_fields(void (*line)(void *ctx, const char *text), void *ctx);

#endif
