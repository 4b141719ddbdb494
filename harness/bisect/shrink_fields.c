/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a case: to one stage, to their defaults, to smaller numbers. */
#include "base/words.h"
#include "cases/field.h"
#include "cases/graph_tables.h"
#include "harness/bisect/shrink_steps.h"

#include <string.h>

/* The sizes, in the order in which they are tried: what costs most first. */
static const char *const sizes[] = {"M", "E", "topk", "N", "K"};
enum { SIZES = sizeof sizes / sizeof *sizes };

static const mp_field *field_named(const char *name) {
    for (size_t i = 0; i < MP_FIELD_COUNT; i++)
        if (strcmp(mp_fields[i].name, name) == 0) return &mp_fields[i];
    return NULL;
}

static bool is_size(const mp_field *f) {
    for (int i = 0; i < SIZES; i++)
        if (strcmp(f->name, sizes[i]) == 0) return true;
    return false;
}

/* What is none: sizes; scope, whose default is the larger case; data that is as plain as it gets. */
static bool is_option(const mp_field *f, const mp_case *c) {
    if (strcmp(f->name, "data") == 0) return c->data != MP_INTEGER;
    return !is_size(f) && strcmp(f->name, "scope") != 0;
}

static void set_default(const mp_field *f, mp_case *c) {
    char value[64];
    mp_field_text(f, &mp_default_case, value);
    mp_field_parse(f, c, value);
}

/* ---- one stage ---- */

/* The stage in which it begins, alone on inputs of its own. */
bool mp_shrink_stage(mp_shrink *s) {
    const int stage = s->result->signature.stage;
    mp_small next = s->result->small;
    if (stage < 0 || next.c.scope != MP_SCOPE_ALL) return false;
    next.c.scope = (mp_scope)(stage + 1);
    for (size_t i = 0; i < MP_FIELD_COUNT; i++)
        if (!mp_word_listed(mp_stages[stage].fields, mp_fields[i].name) &&
            strcmp(mp_fields[i].name, "scope") != 0)
            set_default(&mp_fields[i], &next.c);
    return mp_shrink_try(s, &next);
}

/* ---- options ---- */

/* All of them; where that is too much, one after the other, the last ones of the list first: those
 * depend on the ones before them. */
bool mp_shrink_options_of(mp_shrink *s) {
    mp_small next = s->result->small;
    for (size_t i = 0; i < MP_FIELD_COUNT; i++)
        if (is_option(&mp_fields[i], &next.c)) set_default(&mp_fields[i], &next.c);
    if (mp_shrink_try(s, &next)) return true;
    bool any = false;
    for (size_t i = MP_FIELD_COUNT; i-- > 0;) {
        const mp_field *f = &mp_fields[i];
        if (!is_option(f, &s->result->small.c) ||
            mp_field_compare(f, &s->result->small.c, &mp_default_case) == 0)
            continue;
        next = s->result->small;
        set_default(f, &next.c);
        any = mp_shrink_try(s, &next) || any;
    }
    return any;
}

/* ---- sizes ---- */

static int64_t number_of(const mp_case *c, const mp_field *f) {
    return *(const int64_t *)((const char *)c + f->offset);
}

static bool try_number(mp_shrink *s, const mp_field *f, int64_t value) {
    mp_small next = s->result->small;
    *(int64_t *)((char *)&next.c + f->offset) = value;
    return mp_shrink_try(s, &next);
}

/* To the least that is legal, or to one. */
static bool to_least(mp_shrink *s, const mp_field *f) {
    const int64_t given = number_of(&s->result->small.c, f);
    return (given > f->int_min && try_number(s, f, f->int_min)) ||
           (given > 1 && f->int_min < 1 && try_number(s, f, 1));
}

/* Down by powers of two, the largest first: what is left is a round number where one will do. */
static bool shrink_number(mp_shrink *s, const mp_field *f) {
    const int64_t given = number_of(&s->result->small.c, f);
    int64_t now = given, step = 1;
    while (step <= (given - f->int_min) / 2) step *= 2;
    for (; step > 0; step /= 2)
        while (now - step >= f->int_min && try_number(s, f, now - step)) now -= step;
    return now < given;
}

/* Two that hold each other: no more experts than a token needs, as many columns as rows. */
static bool shrink_together(mp_shrink *s, const mp_field *a, const mp_field *b) {
    bool any = false;
    for (bool again = true; again;) {
        const int64_t x = number_of(&s->result->small.c, a), y = number_of(&s->result->small.c, b);
        mp_small next = s->result->small;
        *(int64_t *)((char *)&next.c + a->offset) = x / 2 > a->int_min ? x / 2 : a->int_min;
        *(int64_t *)((char *)&next.c + b->offset) = y / 2 > b->int_min ? y / 2 : b->int_min;
        again = (x > a->int_min || y > b->int_min) && mp_shrink_try(s, &next);
        any = any || again;
    }
    return any;
}

bool mp_shrink_sizes(mp_shrink *s) {
    bool any = false;
    for (int i = 0; i < SIZES; i++)
        any = to_least(s, field_named(sizes[i])) || any; /* the rest is cheap then */
    for (int i = 0; i < SIZES; i++) any = shrink_number(s, field_named(sizes[i])) || any;
    any = shrink_together(s, field_named("E"), field_named("topk")) || any;
    any = shrink_together(s, field_named("N"), field_named("K")) || any;
    return any;
}

/* ---- data ---- */

/* Small whole numbers are the easiest to read, and their sums are exact. The options have tried
 * `normal`. */
bool mp_shrink_data(mp_shrink *s) {
    mp_small next = s->result->small;
    if (next.c.data == MP_INTEGER) return false;
    next.c.data = MP_INTEGER;
    return mp_shrink_try(s, &next);
}
