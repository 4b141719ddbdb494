/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/judge.h"

#include "cases/graph_tables.h"
#include "harness/answers.h"
#include "harness/judge/judge_stage.h"
#include "harness/phases.h"
#include "harness/progress.h"

#include <stdio.h>
#include <stdlib.h>

/* Whether the subject shows what the stage made. */
static bool exposed(const mp_judgement *j, mp_stage stage) {
    const mp_tensor_set written = mp_stage_writes(j->c, stage) & ~MP_LORA_ALIGN_TENSORS;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (written & MP_IN_SET(id) && !(j->has & MP_IN_SET(id))) return false;
    return true;
}

/* What a stage left and the next one read are the same numbers, unless a hook is allowed in between. */
static void judge_hooks(const mp_judgement *j) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *left = &j->t[id], *read = mp_as_read(j->t, (mp_tensor_id)id);
        const bool by_a_stage = mp_case_outputs(j->c) & MP_IN_SET(mp_tensors[id].as_read);
        if (read == left || by_a_stage || !left->data || j->contract->hooks_add) continue;
        if (mp_tensor_digest(left) != mp_tensor_digest(read))
            mp_check_fail(j->v, MP_CHECK_INPUT,
                          "%s changed before the next stage read it, and the contract has no hooks",
                          mp_tensor_name((mp_tensor_id)id));
    }
}

/* The caches of a sorted or masked layout whose rows cannot be told are as good as not exposed, or align has
 * failed. */
static mp_tensor_set known(const mp_case *c, mp_tensor_set has) {
    const mp_tensor_set needs =
        MP_IN_SET(MP_SORTED_TOKEN_IDS) | (c->layout == MP_MASKED ? MP_IN_SET(MP_EXPERT_IDS) : 0);
    const bool rows = c->layout == MP_ROUTE || (has & needs) == needs;
    for (int id = 0; id < MP_TENSOR_COUNT && !rows; id++)
        if (mp_tensors[id].rows == MP_ROWS_CACHE) has &= ~MP_IN_SET(id);
    return has;
}

mp_judgement mp_judgement_planned(const mp_case *c, mp_tensor_set has) {
    return (mp_judgement){.c = c, .has = known(c, has)};
}

int64_t mp_judgement_lost_slots(const mp_judgement *j) {
    const int32_t *ids = j->t[MP_TOPK_IDS].data;
    int64_t lost = 0;
    for (int64_t t = 0; t < mp_case_slots(j->c); t++)
        lost += j->map.cache_row[t] < 0 && !(j->c->layout == MP_MASKED && ids && ids[t] < 0);
    return lost;
}

int64_t mp_slab_tokens(const mp_case *c, int64_t numbers_of_slot) {
    const int64_t tokens = MP_SLAB_BYTES / (c->topk * numbers_of_slot * (int64_t)sizeof(double));
    return tokens < 1 ? 1 : tokens > c->M ? c->M : tokens;
}

mp_status mp_judgement_open(const mp_case *c, const mp_contract *contract, const mp_config *config,
                            const mp_inputs *in, const mp_trace *trace, uint32_t poison,
                            const mp_engine *engine, mp_verdict *v, mp_judgement *j, mp_error *err) {
    *j = (mp_judgement){.c = c,
                        .contract = contract,
                        .config = config,
                        .in = in,
                        .trace = trace,
                        .poison = poison,
                        .engine = engine,
                        .v = v};
    mp_all_tensors(in, trace, j->t);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (j->t[id].data) j->has |= MP_IN_SET(id);
    j->has = known(c, j->has);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (j->t[id].data && !(j->has & MP_IN_SET(id))) j->t[id] = (mp_tensor){0};
    if (in->ids_unknown)
        j->has &= ~MP_IN_SET(MP_TOPK_IDS); /* those are zeros, that nothing is computed from */
    return mp_slot_map_create(c, j->t, &j->map, err);
}

void mp_judgement_close(mp_judgement *j) {
    free(j->map.memory);
    j->map = (mp_slot_map){0};
}

mp_tensor_set mp_judgement_lacks(const mp_judgement *j, mp_stage_set stages) {
    mp_tensor_set lacks = 0, made = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!mp_in_stages(stages, s) || !mp_case_has_stage(j->c, (mp_stage)s)) continue;
        lacks |= mp_stage_needs(j->c, (mp_stage)s) & ~made & ~j->has;
        made |= mp_stages[s].writes;
    }
    return lacks;
}

mp_stage_set mp_span_stages(const mp_judgement *j, mp_stage last) {
    mp_stage_set set = (mp_stage_set)1 << last;
    mp_tensor_set read = mp_stage_needs(j->c, last);
    /* Behind align: its integers decide rows, no numbers, and there is nothing to judge through. */
    for (int s = (int)last - 1; s > MP_ALIGN; s--) {
        if (!mp_case_has_stage(j->c, (mp_stage)s) || exposed(j, (mp_stage)s)) continue;
        if (!(read & MP_IN_SET(mp_stages[s].output))) continue;
        set |= (mp_stage_set)1 << s;
        read |= mp_stage_needs(j->c, (mp_stage)s);
    }
    return set;
}

mp_stage mp_span_first(const mp_judgement *j, mp_stage last) {
    const mp_stage_set set = mp_span_stages(j, last);
    int first = 0;
    while (!mp_in_stages(set, first)) first++;
    return (mp_stage)first;
}

mp_status mp_for_each_span(const mp_judgement *j, mp_span_visit visit, void *ctx, mp_error *err) {
    mp_status status = MP_OK;
    for (int s = 0; s < MP_STAGE_COUNT && status == MP_OK; s++) {
        if (!mp_case_has_stage(j->c, (mp_stage)s) || !exposed(j, (mp_stage)s)) continue;
        status = visit(ctx, j, mp_span_first(j, (mp_stage)s), (mp_stage)s, err);
    }
    return status;
}

static mp_status judge_part(void *ctx, const mp_judgement *j, mp_stage first, mp_stage last, mp_error *err) {
#define JUDGE(stage, scope, name) mp_judge_stage_##name,
    static mp_stage_judged *const alone[MP_STAGE_COUNT] = {MP_STAGES(JUDGE)};
#undef JUDGE
    (void)ctx;
    if (mp_judgement_lacks(j, mp_span_stages(j, last))) return MP_OK;
    mp_progress(mp_stage_name(last), "judge");
    if (last != MP_ALIGN &&
        mp_judgement_lost_slots(j) > 0) { /* align has failed, and the rows of the caches are not known */
        mp_check_fail(j->v, MP_CHECK_BOUND, "gate_up: %lld slots have no row in the %s layout",
                      (long long)mp_judgement_lost_slots(j), mp_layout_name(j->c->layout));
        return MP_OK;
    }
    return first == last ? alone[first](j, err) : mp_judge_span(j, first, last, err);
}

/* Whether masked_m is there without align's other tensors, as a masked grouped GEMM takes it. */
static bool shows_counts_alone(const mp_judgement *j) {
    return mp_case_has_stage(j->c, MP_ALIGN) && !exposed(j, MP_ALIGN) && j->has & MP_IN_SET(MP_MASKED_M) &&
           j->in->t[MP_TOPK_IDS].data && !j->in->ids_unknown;
}

/* Stages behind the last tensor that is exposed: what a subject was asked for is not judged then, whatever the
 * others are; a file was asked for no more than it holds. */
static void tell_unseen(const mp_judgement *j) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (!mp_case_has_stage(j->c, (mp_stage)s) || exposed(j, (mp_stage)s)) continue;
        bool later = false;
        for (int k = s + 1; k < MP_STAGE_COUNT; k++)
            later = later || (mp_case_has_stage(j->c, (mp_stage)k) && exposed(j, (mp_stage)k));
        if (s == MP_ALIGN && !shows_counts_alone(j))
            mp_check_not_judged(j->v, MP_CHECK_INTEGER, "the subject leaves no align tensors");
        if (s == MP_ALIGN || later) continue;
        char why[80];
        snprintf(why, sizeof why, "nothing is exposed from %s on", mp_stage_name((mp_stage)s));
        if (j->c->data == MP_FROM_FILE)
            mp_check_pass_partly(j->v, MP_CHECK_BOUND, why);
        else
            mp_check_not_judged(j->v, MP_CHECK_BOUND, "%s", why);
        return;
    }
}

/* Checks pass stage by stage: where no stage has a number to compare, nothing has. */
static void expect_numbers(const mp_judgement *j) {
    const char *known = j->v->check[MP_CHECK_BOUND].text;
    for (int s = MP_ALIGN + 1; s < MP_STAGE_COUNT; s++)
        if (j->v->stage[s].compared > 0) return;
    if (j->c->scope != MP_SCOPE_ALIGN) mp_numbers_not_judged(j->v, known[0] ? known : "nothing to compare");
}

mp_status mp_judge(const mp_case *c, const mp_contract *contract, const mp_config *config,
                   const mp_inputs *in, const mp_trace *trace, uint32_t poison, const mp_engine *engine,
                   mp_verdict *v, mp_error *err) {
    mp_judgement j;
    const mp_phase before = mp_phase_enter(MP_PHASE_JUDGE);
    mp_status status = mp_judgement_open(c, contract, config, in, trace, poison, engine, v, &j, err);
    if (status == MP_OK) judge_hooks(&j);
    if (status == MP_OK) status = mp_for_each_span(&j, judge_part, NULL, err);
    if (status == MP_OK) tell_unseen(&j);
    if (status == MP_OK) expect_numbers(&j);
    if (status == MP_OK && shows_counts_alone(&j)) status = mp_judge_masked_m(&j, err);
    mp_judgement_close(&j);
    mp_phase_enter(before);
    return status;
}

void mp_judge_align(const mp_case *c, const mp_contract *contract, const mp_inputs *in, const mp_trace *trace,
                    mp_verdict *v) {
    mp_judgement j = {.c = c, .contract = contract, .in = in, .trace = trace, .v = v};
    mp_error err = {0};
    mp_all_tensors(in, trace, j.t);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (j.t[id].data) j.has |= MP_IN_SET(id);
    if (mp_judge_stage_align(&j, &err) != MP_OK) mp_check_fail(v, MP_CHECK_INTEGER, "align: %s", err.text);
}
