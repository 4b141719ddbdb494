/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/scale_steps.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "moeparity/run_case.h"
#include "ref/predict/predict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the kernel that takes such steps ---- */

/* sm_90's arithmetic, promoted after every step: a promotion has the scales of the group in which it begins,
 * and of a longer one these are the first group's. */
static mp_status describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    offer->contract = mp_host_contract(c);
    const mp_status status = mp_config_resolve(c, NULL, &offer->config, err);
    offer->contract.gate_up.promotion = offer->config.up.block_size_k;
    offer->contract.down.promotion = offer->config.down.block_size_k;
    return status;
}

static mp_status run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_prediction prediction = {.contract = &e->offer->contract, .stage_ns = e->stage_ns};
    const mp_executor executor = mp_predict_executor(&prediction);
    return mp_run_as_given(&executor, e->c, e->offer->config.up.block_size_m, e->t, err);
}

/* ---- a case for it ---- */

/* What runs of a step. */
static int runs(const mp_loader *loader, const mp_case *c, int block_size_k) {
    const int64_t rows = mp_scheme_of(c)->block_rows, group = mp_case_group(c),
                  least = rows < group ? rows : group;
    return loader->clamps_block_k && block_size_k > least ? (int)least : block_size_k;
}

/* A length of k in which each group and each step has a place, and the tail is that of the model. */
static int64_t shortened(int64_t k, int64_t group, int64_t step) {
    enum { WHOLE = 4 };
    const int64_t period = group > step ? group : step, tail = k % period;
    return k < WHOLE * period ? k : WHOLE * period + tail;
}

/* A few tokens and experts are enough: every output is a sum over the steps of k. */
static mp_case case_of(const mp_launch *l, const mp_loader *loader) {
    mp_case c = l->c;
    c.tile = l->up;
    c.tile_down = l->down;
    c.tile.block_size_k = runs(loader, &c, l->up.block_size_k);
    c.tile_down.block_size_k = runs(loader, &c, l->down.block_size_k);
    c.M = 4;
    c.E = 2;
    c.topk = 1;
    c.K = shortened(c.K, mp_case_group(&c), c.tile.block_size_k);
    c.N = shortened(c.N, mp_case_group(&c), c.tile_down.block_size_k);
    return c;
}

/* ---- what came of it ---- */

/* Which terms have foreign scales, of the first step that reaches beyond its group. */
static void tell_terms(const mp_case *c, int64_t step, mp_text *text) {
    const int64_t group = mp_case_group(c);
    int64_t begin = 0;
    while (begin % group + step <= group && begin < step * group) begin += step;
    if (begin == step * group) return; /* none does: its scales are not to blame */
    mp_text_add(text,
                "in steps of %" PRId64 " terms %" PRId64 "..%" PRId64 " meet the scales of group %" PRId64
                " of %" PRId64 ": ",
                step, (begin / group + 1) * group, begin + step - 1, begin / group, group);
}

/* What float64 says of a stage; false where it says nothing of one that the case has. */
static bool tell_stage(const mp_verdict *v, mp_stage stage, int64_t step, const mp_case *c, mp_text *text) {
    if (!mp_case_has_stage(c, stage)) return true;
    const mp_stage_figures *f = &v->stage[stage];
    const int64_t columns = f->rank ? f->shape[f->rank - 1] : 1;
    if (text->length) mp_text_add(text, "; ");
    if (f->judged && f->failed) tell_terms(c, step, text);
    mp_text_add(text, "%s", mp_stage_name(stage));
    if (f->judged && f->failed)
        mp_text_add(text,
                    "[%" PRId64 ",%" PRId64 "] is %.6g, float64 %.6g, bound %.2g; %" PRId64 " of %" PRId64
                    " elements are beyond theirs, rms of a row %.2g",
                    f->worst_index / columns, f->worst_index % columns, f->worst_value, f->worst_expected,
                    f->worst_bound, f->failed, f->compared, f->max_row_rms);
    else if (f->judged)
        mp_text_add(text, " within %.2g of its bound", f->max_ratio);
    else
        mp_text_add(text, " was not judged");
    return f->judged;
}

static void judge(mp_scale_step *s) {
    mp_subject subject = {.name = "steps", .describe = describe, .run = run};
    const mp_matrix_row row = {.c = s->c, .tier = MP_SMOKE};
    const mp_run_options options = {.settings = {.subject = subject.name, .once = true}, .subject = &subject};
    mp_text text = {0};
    mp_verdict v;
    mp_run_case(&row, &options, &v);
    if (v.outcome != MP_PASS && v.outcome != MP_FAIL) {
        mp_text_add(&text, "%s", v.reason);
    } else {
        const bool up = tell_stage(&v, MP_GATE_UP, s->c.tile.block_size_k, &s->c, &text),
                   down = tell_stage(&v, MP_DOWN, s->c.tile_down.block_size_k, &s->c, &text);
        if (v.stage[MP_GATE_UP].failed || v.stage[MP_DOWN].failed)
            s->proof = MP_REFUTED;
        else if (up && down)
            s->proof = MP_PROVEN;
    }
    snprintf(s->text, sizeof s->text, "%s", mp_text_get(&text));
    mp_text_free(&text);
    mp_verdict_free(&v);
}

const mp_scale_step *mp_scale_step_of(const mp_scale_steps *steps, const mp_launch *l) {
    for (size_t i = 0; i < steps->count; i++)
        if (steps->step[i].up == l->up.block_size_k && steps->step[i].down == l->down.block_size_k)
            return &steps->step[i];
    return NULL;
}

mp_status mp_scale_steps_find(const mp_tune_plan *plan, const mp_loader *loader, mp_scale_steps *steps,
                              mp_error *err) {
    const mp_case *base = &plan->target->base;
    *steps = (mp_scale_steps){.loader = loader};
    if (!base->quant || mp_scheme_of(base)->enters != MP_SCALES_PER_TILE) return MP_OK;
    steps->step = calloc(plan->count + 1, sizeof *steps->step);
    if (!steps->step) return mp_fail(err, MP_EMEMORY, "no memory for steps of %zu launches", plan->count);
    for (size_t i = 0; i < plan->count; i++) {
        const mp_launch *l = &plan->launch[i];
        if (mp_scale_step_of(steps, l)) continue;
        mp_scale_step *s = &steps->step[steps->count++];
        *s = (mp_scale_step){.up = l->up.block_size_k, .down = l->down.block_size_k, .c = case_of(l, loader)};
        judge(s);
    }
    return MP_OK;
}

void mp_scale_steps_free(mp_scale_steps *steps) {
    free(steps->step);
    *steps = (mp_scale_steps){0};
}
