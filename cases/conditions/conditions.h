/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/conditions/: a table of conditions a subject, and what several of them ask of a case and
 * the figures of its ids. A condition that fields alone decide is a match expression (IF); one that the ids
 * decide, or arithmetic, is a function (WHERE); one of what ran before, too (AFTER). */
#ifndef MP_CASES_CONDITIONS_H
#define MP_CASES_CONDITIONS_H

#include "cases/coverage.h"

#include "cases/graph_tables.h"

typedef struct mp_condition_list {
    const mp_condition *conditions;
    int count;
} mp_condition_list;
extern const mp_condition_list mp_conditions_of_sums, mp_conditions_of_ids, mp_conditions_of_data,
    mp_conditions_of_options, mp_conditions_of_adapters, mp_conditions_of_codes, mp_conditions_of_sequences;

#define LIST_OF(table) \
    { table, sizeof table / sizeof *table }

#define FULL .full = true
#define IF(text) .match = text
#define WHERE(function, number) .holds = function, .n = number
#define AFTER(function) .follows = function

static inline bool multiplies(const mp_case *c) {
    return mp_case_has_stage(c, MP_GATE_UP) || mp_case_has_stage(c, MP_DOWN);
}

static inline bool has_gemm(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f, (void)n;
    return multiplies(c);
}

/* What is summed over: K in gate_up, N in down. */
static inline int64_t length_of(const mp_case *c, mp_stage stage) {
    return !mp_case_has_stage(c, stage) ? 0 : stage == MP_GATE_UP ? c->K : c->N;
}

/* The last of several blocks of n along K, or along N, is not full. */
static inline bool k_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->K > n && c->K % n != 0;
}

static inline bool n_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->N > n && c->N % n != 0;
}

static inline bool expert_unused(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return f->experts_used < c->E && f->routed > 0;
}

static inline bool expert_beyond(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c;
    return f->fullest > n;
}

static inline bool some_filtered(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->filtered > 0 && f->routed > 0;
}

static inline bool unused_slots(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->data == MP_UNUSED && some_filtered(c, f, n);
}

static inline bool token_unrouted(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->tokens_unrouted > 0 && f->routed > 0;
}

static inline bool expert_repeated(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c, (void)n;
    return f->tokens_repeating > 0;
}

#endif
