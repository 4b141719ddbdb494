/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/bisect_k.h"

#include "cases/case_tools.h"
#include "harness/bisect/k_search.h"
#include "harness/bisect/signature.h"
#include "harness/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mp_status no_memory(mp_error *err) {
    return mp_fail(err, MP_EMEMORY, "no memory for what bisect k finds");
}

/* ---- the search ---- */

int64_t mp_k_end_of(const mp_k_search *s, int64_t groups) {
    return groups < s->groups ? groups * s->group : s->terms;
}

void mp_k_keep(const mp_k_search *s, int64_t from, int64_t to, mp_text *edit) {
    if (from > 0) mp_text_add(edit, "%s%s[...,:%" PRId64 "]=0", edit->length ? "; " : "", s->tensor, from);
    if (to < s->terms) mp_text_add(edit, "%s%s[...,%" PRId64 ":]=0", edit->length ? "; " : "", s->tensor, to);
}

static mp_status try_groups(mp_k_search *s, mp_k_direction *d, int64_t left, mp_error *err) {
    const int64_t cut = d->last ? mp_k_end_of(s, s->groups - left) : mp_k_end_of(s, left);
    mp_text edit = {0};
    mp_verdict v;
    mp_k_shown r;
    if (d->parts[left] >= 0) return MP_OK;
    if (d->last)
        mp_k_keep(s, cut, s->terms, &edit);
    else
        mp_k_keep(s, 0, cut, &edit);
    const mp_status status = mp_k_run(&s->runs, d->last ? "last" : "first", d->last ? s->terms - cut : cut,
                                      mp_text_get(&edit), &r, &v, err);
    if (status == MP_OK) d->parts[left] = (int8_t)r.parts;
    if (status == MP_OK && r.parts && (d->found < 0 || left < d->found)) {
        mp_verdict_free(&d->v);
        d->v = v;
        d->shown = r;
        d->found = left;
    } else {
        mp_verdict_free(&v);
    }
    mp_text_free(&edit);
    return status;
}

/* By halving: with `equal` groups it does not part, with d->found it does. */
static mp_status halve(mp_k_search *s, mp_k_direction *d, mp_error *err) {
    int64_t equal = 0;
    mp_status status = MP_OK;
    while (status == MP_OK && d->found - equal > 1) {
        const int64_t middle = equal + (d->found - equal) / 2;
        status = try_groups(s, d, middle, err);
        if (status == MP_OK && !d->parts[middle]) equal = middle;
    }
    return status;
}

static mp_status find(mp_k_search *s, bool exhaustive, mp_error *err) {
    mp_status status = try_groups(s, &s->first, 0, err);
    s->last.parts[0] = s->first.parts[0]; /* nothing is left either way */
    if (status != MP_OK || s->first.parts[0]) return status;
    for (int64_t g = 1; status == MP_OK && exhaustive && g < s->groups; g++) {
        status = try_groups(s, &s->first, g, err);
        if (status == MP_OK) status = try_groups(s, &s->last, g, err);
    }
    if (exhaustive || s->first.found < 0) return status;
    if (status == MP_OK) status = halve(s, &s->first, err);
    return status == MP_OK ? halve(s, &s->last, err) : status;
}

/* ---- all of it ---- */

static void tell_nothing(const mp_k_search *s, const mp_k_shown *whole, mp_text *text) {
    mp_text_add(text,
                s->runs.by_bits ? "no difference: all %" PRId64 " elements of %s have the predicted bits"
                                : "no difference: all %" PRId64 " elements of %s are within their bounds",
                whole->compared, mp_stage_name(s->runs.seen));
    mp_signature fails;
    char name[MP_SIGNATURE_TEXT_MAX];
    if (!mp_signature_of(&s->first.v, &fails)) return;
    mp_signature_text(&fails, name);
    mp_text_add(text, "; the case fails elsewhere, in %s: moeparity bisect stage tells where that begins",
                name);
}

/* BLOCK_SIZE_K of the stage's tile, 0 where none is told: "16x32x64x1x4x3 16x32x64x1x4x3 (default)". */
static int block_size_k(const mp_verdict *v, mp_stage stage) {
    int up = 0, down = 0;
    if (sscanf(v->config, "%*dx%*dx%dx%*dx%*dx%*d %*dx%*dx%d", &up, &down) != 2) return 0;
    return stage == MP_GATE_UP ? up : down;
}

static void choose_group(mp_k_search *s, const mp_k_question *q, const mp_verdict *v) {
    const int step = mp_contract_text_group(v->contract, s->runs.stage),
              block = block_size_k(v, s->runs.stage);
    const char *from = q->group ? "as asked"
                       : step   ? "L of the accumulator"
                       : block  ? "BLOCK_SIZE_K"
                                : "usual";
    s->group = q->group ? q->group : step ? step : block ? block : 16;
    s->groups = (s->terms + s->group - 1) / s->group;
    json_object_set_new(s->report, "group", json_integer((json_int_t)s->group));
    json_object_set_new(s->report, "group_from", json_string(from));
    json_object_set_new(s->report, "groups", json_integer((json_int_t)s->groups));
    json_object_set_new(s->report, "block_size_k", json_integer(block));
    json_object_set_new(s->report, "judged_by", json_string(s->runs.by_bits ? "bits" : "bound"));
    json_object_set_new(s->report, "seen_in", json_string(mp_stage_name(s->runs.seen)));
}

/* The stage and its operand, as the case has them. */
static mp_status choose(mp_k_search *s, const mp_k_question *q, mp_error *err) {
    const mp_case *c = s->c;
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    const mp_stage stage = q->stage >= 0               ? (mp_stage)q->stage
                           : c->scope == MP_SCOPE_DOWN ? MP_DOWN
                                                       : MP_GATE_UP;
    if (!mp_case_has_stage(c, stage))
        return mp_fail(err, MP_EINPUT, "'%s' has no %s: expected a case with a GEMM", name,
                       mp_stage_name(stage));
    if (c->M == 0) return mp_fail(err, MP_EINPUT, "'%s' has no tokens: nothing is summed", name);
    const mp_tensor_id read = stage == MP_GATE_UP ? MP_X : MP_CACHE2,
                       weights = stage == MP_GATE_UP ? MP_W1 : MP_W2;
    const bool given = mp_case_inputs(c) & MP_IN_SET(read);
    s->runs.stage = stage;
    s->tensor = mp_tensor_name(q->weights || !given ? weights : read);
    s->terms = stage == MP_GATE_UP ? c->K : c->N;
    json_object_set_new(s->report, "case", mp_json_text(name));
    json_object_set_new(s->report, "stage", json_string(mp_stage_name(stage)));
    json_object_set_new(s->report, "tensor", json_string(s->tensor));
    json_object_set_new(s->report, "terms", json_integer((json_int_t)s->terms));
    return MP_OK;
}

static mp_status start(mp_k_search *s, mp_k_direction *d, const mp_k_shown *whole, mp_error *err) {
    if (!(d->parts = malloc((size_t)s->groups + 1))) return no_memory(err);
    memset(d->parts, -1, (size_t)s->groups + 1);
    d->parts[s->groups] = (int8_t)whole->parts;
    d->found = whole->parts ? s->groups : -1;
    d->shown = *whole;
    return MP_OK;
}

static mp_status bisect(mp_k_search *s, const mp_k_question *q, mp_error *err) {
    mp_k_shown whole;
    mp_text text = {0};
    mp_status status = mp_k_run_whole(&s->runs, s->terms, &whole, &s->first.v, err);
    if (status != MP_OK) return status;
    choose_group(s, q, &s->first.v);
    status = start(s, &s->first, &whole, err);
    if (status == MP_OK) status = start(s, &s->last, &whole, err);
    if (status == MP_OK && (whole.parts || q->exhaustive)) status = find(s, q->exhaustive, err);
    json_object_set_new(s->report, "found", json_boolean(s->first.found >= 0));
    json_object_set_new(s->report, "search_runs", json_integer(s->runs.count));
    if (status == MP_OK && s->first.found >= 0)
        status = mp_k_tell_found(s, q->exhaustive, &text, err);
    else if (status == MP_OK)
        tell_nothing(s, &whole, &text);
    json_object_set_new(s->report, "runs", json_integer(s->runs.count));
    json_object_set_new(s->report, "conclusion", mp_json_text(mp_text_get(&text)));
    mp_text_free(&text);
    return status;
}

mp_status mp_bisect_k(const mp_matrix *row, const mp_k_question *question, const mp_suite_options *how,
                      mp_run_info *info, json_t **report, mp_error *err) {
    mp_k_search s = {.runs = {.row = row, .how = *how, .info = info, .tries = json_array()},
                     .c = &row->rows[0].c,
                     .last.last = true,
                     .report = json_object()};
    s.runs.how.settings.once = true;
    mp_verdict_init(&s.first.v);
    mp_verdict_init(&s.last.v);
    *report = NULL;
    mp_status status = s.runs.tries && s.report ? choose(&s, question, err) : no_memory(err);
    if (status == MP_OK) status = bisect(&s, question, err);
    if (status == MP_OK && json_object_set(s.report, "tries", s.runs.tries) != 0) status = no_memory(err);
    if (status == MP_OK) *report = json_incref(s.report);
    free(s.first.parts);
    free(s.last.parts);
    mp_verdict_free(&s.first.v);
    mp_verdict_free(&s.last.v);
    json_decref(s.runs.tries);
    json_decref(s.report);
    return status;
}
