/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of a search for a smaller case share. */
#ifndef MP_HARNESS_SHRINK_STEPS_H
#define MP_HARNESS_SHRINK_STEPS_H

#include "harness/bisect/shrink.h"

#include <jansson.h>

typedef struct mp_shrink {
    const mp_matrix *given;
    mp_suite_options how;
    const mp_shrink_options *options;
    mp_shrunk *result; /* result->small is the smallest so far */
    json_t *seen;      /* the lines that were tried, as keys */
    double begun;
    bool spent; /* no more is tried */
} mp_shrink;

/* Whether `next` fails as the given one does; it is the smallest then. False without a try for what cannot
 * be, has been tried, or comes too late. */
bool mp_shrink_try(mp_shrink *s, const mp_small *next);
/* A text that lives as long as the result. */
const char *mp_shrink_text(mp_shrink *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The steps; true where one of them was kept. */
bool mp_shrink_company(mp_shrink *s);    /* rows before, pairs, what it runs after */
bool mp_shrink_stage(mp_shrink *s);      /* to one stage alone */
bool mp_shrink_options_of(mp_shrink *s); /* to their defaults; data among them, unless it is `integer` */
bool mp_shrink_sizes(mp_shrink *s);
bool mp_shrink_data(mp_shrink *s);
bool mp_shrink_values(mp_shrink *s);

#endif
