/* SPDX-License-Identifier: Apache-2.0 */
/* Sums that a contract can say are predicted by ref/predict under that contract; parts of k (split_k,
 * promotion) are predicted part by part and added in float32. */
#include "harness/infer/gemm_sums.h"

#include "cases/graph_tables.h"
#include "moeparity/preset.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"
#include "ref/predict/tensorcore.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the rules ---- */

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

static mp_sum_rule *new_rule(mp_sum_rules *r, const char *name) {
    if (r->count == MP_SUM_RULES_MAX) return NULL;
    mp_sum_rule *added = &r->rule[r->count++];
    *added = (mp_sum_rule){.contract = mp_contract_weakest()};
    snprintf(added->name, sizeof added->name, "%s", name);
    return added;
}

/* A sum that the contract says: new, or one more name of a rule that predicts the same. */
static void add_contract(mp_sum_rules *r, const char *name, const mp_contract *contract, mp_stage stage) {
    char keys[320];
    gemm_keys(contract, stage, keys, sizeof keys);
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->rule[i].keys, keys) == 0) {
            const size_t used = strlen(r->rule[i].name);
            snprintf(r->rule[i].name + used, sizeof r->rule[i].name - used, ", %s", name);
            return;
        }
    mp_sum_rule *added = new_rule(r, name);
    if (!added) return;
    added->named = true;
    added->contract = *contract;
    snprintf(added->keys, sizeof added->keys, "%s", keys);
}

/* The steps of an architecture's mma.sync with these operands, k in this order. */
static void add_steps(mp_sum_rules *r, const char *name, int sm, mp_tc_input operands, mp_k_order order,
                      const mp_case *c, mp_stage stage) {
    mp_tc_model model;
    mp_contract contract = mp_contract_weakest();
    const char *why;
    if (!mp_tc_find(sm, MP_TC_MMA, operands, operands, &model)) return;
    *gemm_of(&contract, stage) = (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE,
                                                    .group = model.group,
                                                    .fraction_bits = model.fraction_bits,
                                                    .result_fraction_bits = model.result_fraction_bits,
                                                    .zero_exponent = model.zero_exponent,
                                                    .k_order = order,
                                                    .split_k = 1};
    if (mp_predictable(&contract, c, stage, &why)) add_contract(r, name, &contract, stage);
}

/* The tensor cores by their architectures' names, then every accumulator that is predicted. */
static void add_whole_sums(mp_sum_rules *r, const mp_case *c, mp_stage stage) {
    static const char *const presets[] = {"sm_90", "sm_100", "sm_120", "sm_80", "sm_86", "sm_89"};
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
        add_steps(r, "sm_90 tensor core, tf32", 90, MP_TC_TF32, MP_K_ASCENDING, c, stage);
        add_steps(r, "sm_80 tensor core, tf32", 80, MP_TC_TF32, MP_K_ASCENDING, c, stage);
    }
    add_steps(r, "sm_90 tensor core, k permuted", 90, MP_TC_FP16, MP_K_PERMUTED, c, stage);
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

static void add_parts(mp_sum_rules *r, const mp_sum_rule *base, mp_stage stage, mp_sum_parts kind,
                      int number) {
    char name[224];
    snprintf(name, sizeof name, kind == MP_SUM_PARTS ? "%s, split_k %d" : "%s, promoted every %d", base->name,
             number);
    mp_sum_rule *added = new_rule(r, name);
    if (!added) return;
    added->contract = base->contract;
    added->order = base->order;
    added->parts = kind;
    added->number = number;
    added->named = base->named;
    if (!base->named) return;
    mp_contract said = base->contract;
    *(kind == MP_SUM_PARTS ? &gemm_of(&said, stage)->split_k : &gemm_of(&said, stage)->promotion) = number;
    gemm_keys(&said, stage, added->keys, sizeof added->keys);
}

static void add_float64(mp_sum_rules *r, mp_stage stage, bool steps) {
    mp_sum_rule *added =
        new_rule(r, steps ? "float64, and all steps after it" : "float64, rounded to float32");
    if (!added) return;
    added->float64 = added->named = true;
    added->float64_steps = steps;
    snprintf(added->keys, sizeof added->keys, "%s.accumulator=float64%s", mp_stage_name(stage),
             steps ? " float64_steps=1" : "");
}

void mp_sum_rules_make(mp_sum_rules *r, const mp_case *c, mp_stage stage) {
    static const int splits[] = {2, 4, 8}, promotions[] = {32, 64, 128, 256};
    add_whole_sums(r, c, stage);
    const int whole = r->count;
    /* Products of 16-bit operands are exact in float32: fused or not is the same. */
    const bool exact = mp_dtype_size(mp_case_dtype(c, stage == MP_GATE_UP ? MP_W1 : MP_W2)) <= 2;
    for (int i = 0; i < mp_gemm_order_count; i++) {
        if (exact && !mp_gemm_orders[i].fused && mp_gemm_orders[i].lanes > 0) continue;
        mp_sum_rule *added = new_rule(r, mp_gemm_orders[i].name);
        if (!added) continue;
        added->order = &mp_gemm_orders[i];
        added->named = true; /* the loosest words there are */
        snprintf(added->keys, sizeof added->keys, "%s.accumulator=ieee-any-order", mp_stage_name(stage));
    }
    add_float64(r, stage, true);
    add_float64(r, stage, false);
    for (int i = 0; i < whole; i++) {
        const mp_sum_rule base = r->rule[i];
        for (size_t k = 0; k < 3; k++) add_parts(r, &base, stage, MP_SUM_PARTS, splits[k]);
        for (size_t k = 0; k < 4; k++) add_parts(r, &base, stage, MP_SUM_PROMOTED, promotions[k]);
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

mp_tensor_id mp_sum_operand(mp_stage stage, int which) {
    return stage == MP_GATE_UP ? (which ? MP_W1 : MP_X) : (which ? MP_W2 : MP_CACHE2);
}

static mp_status sum_terms(const mp_sum_rule *rule, bare *b, mp_stage stage, const mp_tensor *acc,
                           mp_error *err) {
    const mp_tensor_id out = mp_stage_output(&b->c, stage);
    b->t[out] = *acc;
    const mp_stage_gemm g = mp_gemm_of_stage(&b->call, stage);
    if (rule->order) return mp_gemm_in_order(rule->order, &g.problem, acc, err);
    if (rule->float64) return mp_gemm_stage(mp_engine_of_cpu(), &g.problem, &g.epilogue, NULL, acc, err);
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
static int64_t part_length(const mp_sum_rule *rule, int64_t K) {
    if (rule->parts == MP_SUM_WHOLE) return K;
    return rule->parts == MP_SUM_PROMOTED ? rule->number
                                          : ((K + rule->number - 1) / rule->number + 15) / 16 * 16;
}

static mp_status sum_parts(const mp_sum_rule *rule, bare *b, mp_stage stage, const mp_tensor *acc,
                           mp_error *err) {
    const mp_tensor a = b->t[mp_sum_operand(stage, 0)], w = b->t[mp_sum_operand(stage, 1)];
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
        b->t[mp_sum_operand(stage, 0)] = sa;
        b->t[mp_sum_operand(stage, 1)] = sw;
        if (status == MP_OK) status = sum_terms(rule, b, stage, &part, err);
        for (int64_t i = 0; i < count && status == MP_OK; i++) total[i] += ((const float *)part.data)[i];
        mp_tensor_free(&sa);
        mp_tensor_free(&sw);
    }
    b->t[mp_sum_operand(stage, 0)] = a;
    b->t[mp_sum_operand(stage, 1)] = w;
    mp_tensor_free(&part);
    return status;
}

bool mp_sum_is_its_own(const mp_sum_rule *rule, int64_t terms) {
    return rule->parts == MP_SUM_WHOLE || part_length(rule, terms) < terms;
}

mp_status mp_sum_compute(const mp_sum_rule *rule, const mp_infer_run *r, mp_stage stage, const mp_tensor *acc,
                         mp_error *err) {
    bare *b = malloc(sizeof *b);
    if (!b) return mp_fail(err, MP_EMEMORY, "infer: no memory");
    make_bare(r, stage, b);
    const mp_status status = rule->parts == MP_SUM_WHOLE ? sum_terms(rule, b, stage, acc, err)
                                                         : sum_parts(rule, b, stage, acc, err);
    free(b);
    return status;
}
