/* SPDX-License-Identifier: Apache-2.0 */
/* gate_up and down: how the sum over k is made, what happens to it before it is stored (bias, router weight,
 * roundings in between), and how it is stored. The three are asked together: a kernel is one of each.
 *
 * Sums that a contract can say are predicted by ref/predict under that contract; parts of k (split_k,
 * promotion) are predicted part by part and added in float32. */
#include "cases/graph_tables.h"
#include "harness/infer/gemm_orders.h"
#include "harness/infer/infer_stage.h"
#include "moeparity/preset.h"
#include "ref/blas.h"
#include "ref/bounds.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the sums ---- */

/* PARTS: `number` parts of ceil(k / number) terms, rounded up to a multiple of 16, whose sums are added to
 * zero in ascending order. PROMOTED: the same with parts of `number` terms. */
typedef enum parts { WHOLE, PARTS, PROMOTED } parts;

typedef struct rule {
    char name[160], keys[320];
    bool named;                 /* a contract has words for it: keys */
    mp_contract contract;       /* what predicts the sum, or */
    const mp_gemm_order *order; /* what adds it in another order */
    bool float64, float64_steps;
    parts parts;
    int number;
} sum_rule;

enum { MOST_RULES = 128 };
typedef struct rules {
    sum_rule rule[MOST_RULES];
    int count;
} rules;

static mp_gemm_contract *gemm_of(mp_contract *contract, mp_stage stage) {
    return stage == MP_GATE_UP ? &contract->gate_up : &contract->down;
}

/* The fields of the stage's GEMM as a contract's words. */
static void gemm_keys(const mp_contract *contract, mp_stage stage, char *text, size_t size) {
    static const char *const fields[] = {"accumulator",   "group",   "fraction_bits", "result_fraction_bits",
                                         "zero_exponent", "k_order", "promotion",     "split_k"};
    size_t used = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char name[64], value[64];
        snprintf(name, sizeof name, "%s.%s", mp_stage_name(stage), fields[i]);
        mp_contract_field(contract, name, value);
        used += (size_t)snprintf(text + used, size - used, "%s%s=%s", used ? " " : "", name, value);
    }
}

static sum_rule *new_rule(rules *r, const char *name) {
    if (r->count == MOST_RULES) return NULL;
    sum_rule *added = &r->rule[r->count++];
    *added = (sum_rule){.contract = mp_contract_weakest()};
    snprintf(added->name, sizeof added->name, "%s", name);
    return added;
}

/* A sum that the contract says: new, or one more name of a rule that predicts the same. */
static void add_contract(rules *r, const char *name, const mp_contract *contract, mp_stage stage) {
    char keys[320];
    gemm_keys(contract, stage, keys, sizeof keys);
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->rule[i].keys, keys) == 0) {
            const size_t used = strlen(r->rule[i].name);
            snprintf(r->rule[i].name + used, sizeof r->rule[i].name - used, ", %s", name);
            return;
        }
    sum_rule *added = new_rule(r, name);
    if (!added) return;
    added->named = true;
    added->contract = *contract;
    snprintf(added->keys, sizeof added->keys, "%s", keys);
}

/* The tensor cores by their architectures' names, then every accumulator that is predicted. */
static void add_whole_sums(rules *r, const mp_case *c, mp_stage stage) {
    static const char *const presets[] = {"sm_90", "sm_100", "sm_80", "sm_86", "sm_89"};
    const char *why;
    mp_contract contract;
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        char name[64];
        if (mp_contract_preset(presets[i], c, &contract, NULL) != MP_OK) continue;
        const bool core = gemm_of(&contract, stage)->accumulator == MP_ACC_TENSOR_CORE;
        snprintf(name, sizeof name, "%s tensor core", presets[i]);
        if (core && mp_predictable(&contract, c, stage, &why)) add_contract(r, name, &contract, stage);
    }
    if (mp_case_dtype(c, MP_W1) == MP_FP32) { /* the same instructions with float32 operands cut to tf32 */
        static const int tf32[][3] = {{90, 8, 25}, {80, 4, 24}};
        for (int i = 0; i < 2; i++) {
            char name[64];
            contract = mp_contract_weakest();
            *gemm_of(&contract, stage) = (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE,
                                                            .group = tf32[i][1],
                                                            .fraction_bits = tf32[i][2],
                                                            .result_fraction_bits = 23,
                                                            .zero_exponent = -133,
                                                            .split_k = 1};
            snprintf(name, sizeof name, "sm_%d tensor core, tf32", tf32[i][0]);
            add_contract(r, name, &contract, stage);
        }
    }
    for (int a = 0; a < MP_ACC_COUNT; a++) {
        char field[64], value[64], name[80];
        contract = mp_contract_weakest();
        *gemm_of(&contract, stage) = (mp_gemm_contract){.accumulator = (mp_accumulator)a, .split_k = 1};
        if (a == MP_ACC_TENSOR_CORE || !mp_predictable(&contract, c, stage, &why)) continue;
        snprintf(field, sizeof field, "%s.accumulator", mp_stage_name(stage));
        snprintf(name, sizeof name, "%s",
                 a == MP_ACC_FMA_ASCENDING ? "float32 fma, k ascending"
                                           : mp_contract_field(&contract, field, value));
        add_contract(r, name, &contract, stage);
    }
}

static void add_parts(rules *r, const sum_rule *base, mp_stage stage, parts kind, int number) {
    char name[224];
    snprintf(name, sizeof name, kind == PARTS ? "%s, split_k %d" : "%s, promoted every %d", base->name,
             number);
    sum_rule *added = new_rule(r, name);
    if (!added) return;
    added->contract = base->contract;
    added->order = base->order;
    added->parts = kind;
    added->number = number;
    added->named = base->named;
    if (!base->named) return;
    mp_contract said = base->contract;
    *(kind == PARTS ? &gemm_of(&said, stage)->split_k : &gemm_of(&said, stage)->promotion) = number;
    gemm_keys(&said, stage, added->keys, sizeof added->keys);
}

static void add_float64(rules *r, mp_stage stage, bool steps) {
    sum_rule *added = new_rule(r, steps ? "float64, and all steps after it" : "float64, rounded to float32");
    if (!added) return;
    added->float64 = added->named = true;
    added->float64_steps = steps;
    snprintf(added->keys, sizeof added->keys, "%s.accumulator=float64%s", mp_stage_name(stage),
             steps ? " float64_steps=1" : "");
}

static void make_rules(rules *r, const mp_case *c, mp_stage stage) {
    static const int splits[] = {2, 4, 8}, promotions[] = {32, 64, 128, 256};
    add_whole_sums(r, c, stage);
    const int whole = r->count;
    /* Products of 16-bit operands are exact in float32: fused or not is the same. */
    const bool exact = mp_dtype_size(mp_case_dtype(c, stage == MP_GATE_UP ? MP_W1 : MP_W2)) <= 2;
    for (int i = 0; i < mp_gemm_order_count; i++) {
        if (exact && !mp_gemm_orders[i].fused && mp_gemm_orders[i].lanes > 0) continue;
        sum_rule *added = new_rule(r, mp_gemm_orders[i].name);
        if (!added) continue;
        added->order = &mp_gemm_orders[i];
        added->named = true; /* the loosest words there are */
        snprintf(added->keys, sizeof added->keys, "%s.accumulator=ieee-any-order", mp_stage_name(stage));
    }
    add_float64(r, stage, true);
    add_float64(r, stage, false);
    for (int i = 0; i < whole; i++) {
        const sum_rule base = r->rule[i];
        for (size_t k = 0; k < 3; k++) add_parts(r, &base, stage, PARTS, splits[k]);
        for (size_t k = 0; k < 4; k++) add_parts(r, &base, stage, PROMOTED, promotions[k]);
    }
}

/* ---- computing one ---- */

/* The GEMM of the stage without its epilogue: a call for ref/predict whose output is acc [slots, n]. */
typedef struct bare {
    mp_case c;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_slot_map map;
    mp_stage_call call;
} bare;

static void make_bare(const mp_infer_run *r, mp_stage stage, bare *b) {
    *b = (bare){.c = *r->c, .map = r->map};
    memcpy(b->t, r->t, sizeof b->t);
    b->c.apply_router_weight_on_input = stage == MP_DOWN; /* the other GEMM's business */
    b->t[MP_B1].data = b->t[MP_B2].data = NULL;
    if (stage == MP_GATE_UP) b->map.cache_row = NULL; /* acc has a row a slot */
    b->call = (mp_stage_call){.c = &b->c, .t = b->t, .block_size_m = r->block_size_m, .map = &b->map};
}

static mp_tensor_id operand_of(mp_stage stage, int which) {
    return stage == MP_GATE_UP ? (which ? MP_W1 : MP_X) : (which ? MP_W2 : MP_CACHE2);
}

static mp_status sum_terms(const sum_rule *rule, bare *b, mp_stage stage, const mp_tensor *acc,
                           mp_error *err) {
    const mp_tensor_id out = mp_stage_output(&b->c, stage);
    b->t[out] = *acc;
    const mp_stage_gemm g = mp_gemm_of_stage(&b->call, stage);
    if (rule->order) return mp_gemm_in_order(rule->order, &g.problem, acc, err);
    if (rule->float64)
        return mp_gemm_stage(mp_blas_load(NULL) == MP_OK ? MP_ENGINE_BLAS : MP_ENGINE_PLAIN, &g.problem,
                             &g.epilogue, NULL, acc, err);
    mp_prediction prediction = {.contract = &rule->contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    return executor.stage[stage](executor.self, &b->call, err);
}

/* Columns first .. first+count of the last axis, packed. */
static mp_status slice(const mp_tensor *from, int64_t first, int64_t count, mp_tensor *to, mp_error *err) {
    const int64_t width = mp_tensor_row_length(from), rows = mp_tensor_rows(from);
    const size_t size = mp_dtype_size(from->dtype);
    *to = *from;
    to->data = NULL;
    to->dim[from->rank - 1] = count;
    const mp_status status = mp_tensor_alloc(to, 0, err);
    for (int64_t i = 0; i < rows && status == MP_OK; i++)
        memcpy((char *)to->data + (size_t)(i * count) * size,
               (const char *)from->data + (size_t)(i * width + first) * size, (size_t)count * size);
    return status;
}

/* Terms of a part, of K. */
static int64_t part_length(const sum_rule *rule, int64_t K) {
    if (rule->parts == WHOLE) return K;
    return rule->parts == PROMOTED ? rule->number : ((K + rule->number - 1) / rule->number + 15) / 16 * 16;
}

static mp_status sum_parts(const sum_rule *rule, bare *b, mp_stage stage, const mp_tensor *acc,
                           mp_error *err) {
    const mp_tensor a = b->t[operand_of(stage, 0)], w = b->t[operand_of(stage, 1)];
    const int64_t K = mp_tensor_row_length(&w), count = mp_tensor_count(acc), length = part_length(rule, K);
    mp_tensor part = *acc;
    part.data = NULL;
    mp_status status = mp_tensor_alloc(&part, 0, err);
    float *total = acc->data;
    memset(total, 0, mp_tensor_bytes(acc));
    for (int64_t k = 0; k < K && status == MP_OK; k += length) {
        const int64_t terms = K - k < length ? K - k : length;
        mp_tensor sa = {0}, sw = {0};
        status = slice(&a, k, terms, &sa, err);
        if (status == MP_OK) status = slice(&w, k, terms, &sw, err);
        b->t[operand_of(stage, 0)] = sa;
        b->t[operand_of(stage, 1)] = sw;
        if (status == MP_OK) status = sum_terms(rule, b, stage, &part, err);
        for (int64_t i = 0; i < count && status == MP_OK; i++) total[i] += ((const float *)part.data)[i];
        mp_tensor_free(&sa);
        mp_tensor_free(&sw);
    }
    b->t[operand_of(stage, 0)] = a;
    b->t[operand_of(stage, 1)] = w;
    mp_tensor_free(&part);
    return status;
}

/* ---- epilogues ---- */

/* Steps: b + bias, w * weight, v * weight rounded to the tensor's dtype, r rounded to it. */
typedef struct epilogue {
    const char *steps, *name;
    bool named;
} epilogue;
static const epilogue epilogues[] = {
    {"bw", "+ bias, * weight", true},
    {"wb", "* weight, + bias", false},
    {"rbw", "rounded, + bias, * weight", false},
    {"brw", "+ bias, rounded, * weight", false},
    {"rbrw", "rounded, + bias, rounded, * weight", false},
    {"rwb", "rounded, * weight, + bias", false},
    {"wrb", "* weight, rounded, + bias", false},
    {"bv", "+ bias, * weight in the tensor's format", false},
    {"brv", "+ bias, rounded, * weight in the tensor's format", false},
    {"vb", "* weight in the tensor's format, + bias", false},
    {"w", "no bias, * weight", false},
    {"b", "+ bias, no weight", false},
};
enum { EPILOGUES = sizeof epilogues / sizeof *epilogues, STEPS_MAX = 8 };

/* The steps that have an effect in this case: what has no bias adds none, and a rounding before the store, or
 * of a value that has the format already, changes nothing. */
static void effective(const epilogue *e, const mp_epilogue *has, bool wide, char steps[STEPS_MAX]) {
    int n = 0;
    for (const char *s = e->steps; *s; s++) {
        if (*s == 'b' && !has->bias) continue;
        if ((*s == 'w' || *s == 'v') && !has->weights) continue;
        if (*s == 'r' && (wide || (n > 0 && steps[n - 1] == 'r'))) continue;
        steps[n++] = *s == 'v' && wide ? 'w' : *s;
    }
    while (n > 0 && steps[n - 1] == 'r') n--;
    steps[n] = '\0';
}

static void finish_f32(const char *steps, const mp_epilogue *has, mp_dtype dtype, int64_t slot, int64_t n,
                       const float *bias, float *row) {
    for (; *steps; steps++) {
        float weight = has->weights ? has->weights[slot] : 1;
        if (*steps == 'v') weight = (float)mp_round_to(dtype, (double)weight);
        if (*steps == 'b')
            for (int64_t i = 0; i < n; i++) row[i] += bias[i];
        else if (*steps == 'r')
            for (int64_t i = 0; i < n; i++) row[i] = (float)mp_round_to(dtype, (double)row[i]);
        else
            for (int64_t i = 0; i < n; i++) row[i] *= weight;
    }
}

static void finish_f64(const char *steps, const mp_epilogue *has, mp_dtype dtype, int64_t slot, int64_t n,
                       const float *bias, double *row) {
    for (; *steps; steps++) {
        double weight = has->weights ? (double)has->weights[slot] : 1;
        if (*steps == 'v') weight = mp_round_to(dtype, weight);
        if (*steps == 'b')
            for (int64_t i = 0; i < n; i++) row[i] += (double)bias[i];
        else if (*steps == 'r')
            for (int64_t i = 0; i < n; i++) row[i] = mp_round_to(dtype, row[i]);
        else
            for (int64_t i = 0; i < n; i++) row[i] *= weight;
    }
}

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
            finish_f64(steps, &g.epilogue, g.out->dtype, t, n, bias, wide);
            mp_store_row(store, g.out->dtype, n, wide, codes);
        } else {
            mp_decode_row(acc->dtype, acc->data, t * n, n, wide);
            for (int64_t i = 0; i < n; i++) row[i] = (float)wide[i];
            finish_f32(steps, &g.epilogue, g.out->dtype, t, n, bias, row);
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
static mp_status ask_sum(const mp_infer_run *r, mp_stage stage, int question, const sum_rule *rule, int sum,
                         int most_clean, const mp_tensor *acc, mp_error *err) {
    const mp_stage_call call = {.c = r->c, .t = r->t, .map = &r->map};
    const mp_stage_gemm g = mp_gemm_of_stage(&call, stage);
    const bool wide = !rule->float64_steps && g.out->dtype == MP_FP32;
    char steps[EPILOGUES][STEPS_MAX];
    int value[EPILOGUES][MP_STORE_COUNT][MP_EVIDENCE_AXES];
    bool wanted[EPILOGUES][MP_STORE_COUNT] = {{false}}, failed = false;
    mp_tally_rows tally[EPILOGUES][MP_STORE_COUNT] = {{{0}}};
    for (int e = 0; e < EPILOGUES; e++) {
        effective(&epilogues[e], &g.epilogue, wide, steps[e]);
        int same_as = 0;
        while (strcmp(steps[same_as], steps[e]) != 0) same_as++;
        const mp_evidence_value text = {.name = epilogues[e].name, .keys = epilogues[e].named ? "" : NULL};
        const int v = mp_evidence_value_of(r->evidence, question, 1, text);
        for (int s = 0; s < MP_STORE_COUNT; s++) {
            const int at[] = {sum, v, mp_store_value(r->evidence, question, 2, (mp_store)s)};
            memcpy(value[e][s], at, sizeof at);
            wanted[e][s] = same_as == e && (s == MP_STORE_NEAREST || !wide) &&
                           !mp_hypothesis_is_out(mp_hypothesis_of(r->evidence, question, at), most_clean);
        }
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < EPILOGUES * MP_STORE_COUNT; i++) {
        const int e = i / MP_STORE_COUNT, s = i % MP_STORE_COUNT;
        if (wanted[e][s] &&
            !compare(r, stage, acc, rule->float64_steps, steps[e], (mp_store)s, &tally[e][s])) {
#pragma omp atomic write
            failed = true;
        }
    }
    if (failed) return mp_fail(err, MP_EMEMORY, "infer: no memory for a row of %s", mp_stage_name(stage));
    for (int e = 0; e < EPILOGUES; e++)
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
    rules *all = calloc(1, sizeof *all);
    bare *b = malloc(sizeof *b);
    mp_tensor acc = mp_tensor_shape(MP_FP32, 2, mp_case_slots(r->c), r->t[operand_of(stage, 1)].dim[1], 1);
    mp_tensor acc64 = acc;
    acc64.dtype = MP_FP64;
    mp_status status = all && b && question >= 0 ? MP_OK : mp_fail(err, MP_EMEMORY, "infer: no memory");
    if (status == MP_OK) status = mp_tensor_alloc(&acc, 0, err);
    if (status == MP_OK) status = mp_tensor_alloc(&acc64, 0, err);
    if (status == MP_OK) make_rules(all, r->c, stage);
    const int most_clean = question < 0 ? 0 : mp_question_most_clean(&r->evidence->question[question]);
    for (int i = 0; status == MP_OK && i < all->count; i++) {
        const sum_rule *rule = &all->rule[i];
        const mp_evidence_value text = {.name = rule->name, .keys = rule->named ? rule->keys : NULL};
        const int sum = mp_evidence_value_of(r->evidence, question, 0, text);
        if (sum < 0) status = mp_fail(err, MP_EMEMORY, "infer: no memory");
        const int64_t K = mp_tensor_row_length(&r->t[operand_of(stage, 1)]);
        const bool same = rule->parts != WHOLE && part_length(rule, K) >= K; /* as without parts */
        if (status != MP_OK || same || sum_is_out(r->evidence, question, sum, most_clean)) continue;
        const mp_tensor *sums = rule->float64 ? &acc64 : &acc;
        make_bare(r, stage, b);
        status = rule->parts == WHOLE ? sum_terms(rule, b, stage, sums, err)
                                      : sum_parts(rule, b, stage, sums, err);
        if (status == MP_OK) status = ask_sum(r, stage, question, rule, sum, most_clean, sums, err);
    }
    mp_tensor_free(&acc);
    mp_tensor_free(&acc64);
    free(b);
    free(all);
    return status;
}
