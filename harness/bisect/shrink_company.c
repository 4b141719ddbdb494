/* SPDX-License-Identifier: Apache-2.0 */
/* What runs with a case, and may not be needed: rows before it, its pairs, what it runs after. */
#include "cases/field.h"
#include "harness/bisect/shrink_steps.h"

#include <inttypes.h>
#include <string.h>

/* Takes item i out of a list of `count`. */
#define TAKE_OUT(list, count, i) memmove((list) + (i), (list) + (i) + 1, (--(count) - (i)) * sizeof *(list))

static size_t before_count(const mp_small *small) {
    return small->befores;
}
static void without_before(mp_small *small, size_t i) {
    TAKE_OUT(small->before, small->befores, i);
}
static size_t pair_count(const mp_small *small) {
    return small->pairs;
}
static void without_pair(mp_small *small, size_t i) {
    TAKE_OUT(small->pair, small->pairs, i);
}
static size_t after_count(const mp_small *small) {
    return small->afters;
}
static void without_after(mp_small *small, size_t i) {
    TAKE_OUT(small->after, small->afters, i);
}

/* All of them at once, else those that can be spared one after the other. */
static bool drop(mp_shrink *s, size_t (*count)(const mp_small *), void (*without)(mp_small *, size_t i)) {
    bool any = false;
    mp_small next = s->result->small;
    while (count(&next) > 0) without(&next, 0);
    if (count(&s->result->small) > 0 && mp_shrink_try(s, &next)) return true;
    for (size_t i = 0; i < count(&s->result->small);) {
        next = s->result->small;
        without(&next, i);
        const bool spared = mp_shrink_try(s, &next);
        any = any || spared;
        i += !spared;
    }
    return any;
}

/* "M=200 seed=1": the fields in which `before` differs from the case, and M in any case. */
static const char *after_text(mp_shrink *s, const mp_case *c, const mp_case *before) {
    const char *text = mp_shrink_text(s, "M=%" PRId64, before->M);
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        char value[64];
        if (strcmp(mp_fields[i].name, "M") == 0 || mp_field_compare(&mp_fields[i], c, before) == 0) continue;
        mp_field_text(&mp_fields[i], before, value);
        text = mp_shrink_text(s, "%s %s=%s", text, mp_fields[i].name, value);
    }
    return text;
}

static bool try_after(mp_shrink *s, size_t i, const mp_case *before) {
    mp_small next = s->result->small;
    next.after[i] = after_text(s, &next.c, before);
    return mp_shrink_try(s, &next);
}

/* What it runs after becomes more like the case itself, and of fewer tokens. */
static bool shrink_after(mp_shrink *s, size_t i) {
    const mp_case c = s->result->small.c;
    mp_case before = c;
    bool any = false;
    if (mp_case_apply(&before, s->result->small.after[i], NULL) != MP_OK) return false;
    mp_case plain = c;
    plain.M = before.M;
    if (mp_case_compare(&plain, &before) != 0 && try_after(s, i, &plain)) {
        before = plain;
        any = true;
    }
    int64_t step = 1;
    while (step <= before.M / 2) step *= 2;
    for (; step > 0 && before.M > 0; step /= 2)
        for (bool again = true; again && before.M >= step;) {
            mp_case fewer = before;
            fewer.M -= step;
            again = try_after(s, i, &fewer);
            if (again) before = fewer;
            any = any || again;
        }
    return any;
}

static bool drop_edits(mp_shrink *s) {
    mp_small next = s->result->small;
    next.edit = NULL;
    return s->result->small.edit && mp_shrink_try(s, &next);
}

bool mp_shrink_company(mp_shrink *s) {
    bool any = drop(s, before_count, without_before);
    any = drop_edits(s) || any;
    any = drop(s, pair_count, without_pair) || any;
    any = drop(s, after_count, without_after) || any;
    for (size_t i = 0; i < s->result->small.afters; i++) any = shrink_after(s, i) || any;
    return any;
}
