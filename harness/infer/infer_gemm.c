/* SPDX-License-Identifier: Apache-2.0 */
/* gate_up and down: how the sum over k is made (gemm_sums.c), what happens to it before it is stored
 * (gemm_epilogues.c), and how it is stored. The three are asked together: a kernel is one of each. */
#include "harness/infer/gemm_epilogues.h"
#include "harness/infer/gemm_sums.h"
#include "harness/infer/infer_stage.h"

#include <stdlib.h>

/* One sum with one epilogue and one store, against all rows that hold a result. */
static bool compare(const mp_infer_run *r, mp_stage stage, const mp_tensor *acc, bool steps64,
                    const char *steps, mp_store store, mp_tally_rows *tally) {
    const mp_stage_call call = {.c = r->c, .t = r->t, .block_size_m = r->block_size_m, .map = &r->map};
    const mp_stage_gemm g = mp_gemm_of_stage(&call, stage);
    const int64_t n = mp_tensor_row_length(acc);
    double *wide = malloc((size_t)n * (2 * sizeof(double) + 2 * sizeof(float)));
    if (!wide) return false;
    double *codes = wide + n;
    float *row = (float *)(codes + n), *bias = row + n;
    for (int64_t t = 0; t < g.problem.slots && !mp_tally_is_enough(tally); t++) {
        const int64_t expert = g.problem.topk_ids[t], at = g.out_row ? g.out_row[t] : t;
        if (expert < 0 || at < 0 || r->map.cache_row[t] < 0) continue;
        if (g.epilogue.bias)
            mp_decode_row_f32(g.epilogue.bias->dtype, g.epilogue.bias->data, expert * n, n, bias);
        if (acc->dtype == MP_FP64 && steps64) {
            memcpy(wide, (const double *)acc->data + t * n, (size_t)n * sizeof *wide);
            mp_epilogue_f64(steps, &g.epilogue, g.out->dtype, t, n, bias, wide);
            mp_store_row(store, g.out->dtype, n, wide, codes);
        } else {
            mp_decode_row(acc->dtype, acc->data, t * n, n, wide);
            for (int64_t i = 0; i < n; i++) row[i] = (float)wide[i];
            mp_epilogue_f32(steps, &g.epilogue, g.out->dtype, t, n, bias, row);
            mp_store_row_f32(store, g.out->dtype, n, row, codes);
        }
        mp_tally_row(tally, t, g.out, at, codes);
    }
    free(wide);
    return true;
}

/* ---- the question ---- */

/* All epilogues and stores of one sum. Of epilogues with the same effect in this case the first one is
 * compared: the others are no hypotheses of it. */
static mp_status ask_sum(const mp_infer_run *r, mp_stage stage, int question, const mp_sum_rule *rule,
                         int sum, int most_clean, const mp_tensor *acc, mp_error *err) {
    const mp_stage_call call = {.c = r->c, .t = r->t, .map = &r->map};
    const mp_stage_gemm g = mp_gemm_of_stage(&call, stage);
    const bool wide = !rule->float64_steps && g.out->dtype == MP_FP32;
    char steps[MP_EPILOGUES][MP_STEPS_MAX];
    int value[MP_EPILOGUES][MP_STORE_COUNT][MP_EVIDENCE_AXES];
    bool wanted[MP_EPILOGUES][MP_STORE_COUNT] = {{false}}, failed = false;
    mp_tally_rows tally[MP_EPILOGUES][MP_STORE_COUNT] = {{{0}}};
    for (int e = 0; e < MP_EPILOGUES; e++) {
        mp_epilogue_steps(&mp_infer_epilogues[e], &g.epilogue, wide, steps[e]);
        int same_as = 0;
        while (strcmp(steps[same_as], steps[e]) != 0) same_as++;
        const mp_evidence_value text = {.name = mp_infer_epilogues[e].name,
                                        .keys = mp_infer_epilogues[e].named ? "" : NULL};
        const int v = mp_evidence_value_of(r->evidence, question, 1, text);
        for (int s = 0; s < MP_STORE_COUNT; s++) {
            const int at[] = {sum, v, mp_store_value(r->evidence, question, 2, (mp_store)s)};
            memcpy(value[e][s], at, sizeof at);
            wanted[e][s] = same_as == e && (s == MP_STORE_NEAREST || !wide) &&
                           !mp_hypothesis_is_out(mp_hypothesis_of(r->evidence, question, at), most_clean);
        }
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < MP_EPILOGUES * MP_STORE_COUNT; i++) {
        const int e = i / MP_STORE_COUNT, s = i % MP_STORE_COUNT;
        if (wanted[e][s] &&
            !compare(r, stage, acc, rule->float64_steps, steps[e], (mp_store)s, &tally[e][s])) {
#pragma omp atomic write
            failed = true;
        }
    }
    if (failed) return mp_fail(err, MP_EMEMORY, "infer: no memory for a row of %s", mp_stage_name(stage));
    for (int e = 0; e < MP_EPILOGUES; e++)
        for (int s = 0; s < MP_STORE_COUNT; s++)
            if (wanted[e][s]) mp_tally_take(r, stage, question, value[e][s], &tally[e][s]);
    return MP_OK;
}

/* Whether every hypothesis with this sum is out already. */
static bool sum_is_out(const mp_evidence *e, int question, int sum, int most_clean) {
    const mp_question *q = &e->question[question];
    bool any = false;
    for (int i = 0; i < q->count; i++) {
        if (q->hypothesis[i].value[0] != sum) continue;
        if (!mp_hypothesis_is_out(&q->hypothesis[i], most_clean)) return false;
        any = true;
    }
    return any;
}

mp_status mp_infer_gemm(const mp_infer_run *r, mp_stage stage, mp_error *err) {
    static const char *const axes[] = {"sum", "epilogue", "store", NULL};
    const int question = mp_ask(r->evidence, stage, "arithmetic", axes);
    mp_sum_rules *all = calloc(1, sizeof *all);
    mp_tensor acc =
        mp_tensor_shape(MP_FP32, 2, mp_case_slots(r->c), r->t[mp_sum_operand(stage, 1)].dim[1], 1);
    mp_tensor acc64 = acc;
    acc64.dtype = MP_FP64;
    mp_status status = all && question >= 0 ? MP_OK : mp_fail(err, MP_EMEMORY, "infer: no memory");
    if (status == MP_OK) status = mp_tensor_alloc(&acc, 0, err);
    if (status == MP_OK) status = mp_tensor_alloc(&acc64, 0, err);
    if (status == MP_OK) mp_sum_rules_make(all, r->c, stage);
    const int most_clean = question < 0 ? 0 : mp_question_most_clean(&r->evidence->question[question]);
    for (int i = 0; status == MP_OK && i < all->count; i++) {
        const mp_sum_rule *rule = &all->rule[i];
        const mp_evidence_value text = {.name = rule->name, .keys = rule->named ? rule->keys : NULL};
        const int sum = mp_evidence_value_of(r->evidence, question, 0, text);
        if (sum < 0) status = mp_fail(err, MP_EMEMORY, "infer: no memory");
        const int64_t K = mp_tensor_row_length(&r->t[mp_sum_operand(stage, 1)]);
        if (status != MP_OK || !mp_sum_is_its_own(rule, K) ||
            sum_is_out(r->evidence, question, sum, most_clean))
            continue;
        const mp_tensor *sums = rule->float64 ? &acc64 : &acc;
        status = mp_sum_compute(rule, r, stage, sums, err);
        if (status == MP_OK) status = ask_sum(r, stage, question, rule, sum, most_clean, sums, err);
    }
    mp_tensor_free(&acc);
    mp_tensor_free(&acc64);
    free(all);
    return status;
}
