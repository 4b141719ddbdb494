/* SPDX-License-Identifier: Apache-2.0 */
/* The activation: whose exp, tanh and erf, where it rounds, how it stores.
 *
 * Every function of the contract's list is asked whose prediction there is (ref/predict). The others are
 * computed here, by the formulas of ref/predict/activation_f32.h with functions of somebody else. */
#include "harness/infer/infer_stage.h"
#include "ref/activation.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- functions of somebody else ---- */

/* v * sigmoid(b*v): as v / (1 + exp(-b*v)), as v * (1 / (1 + exp(-b*v))), or through tanh(b*v/2). */
typedef enum swish_form { QUOTIENT, RECIPROCAL, THROUGH_TANH } swish_form;

typedef struct functions {
    const char *name, *keys;
    float (*exp)(float), (*tanh)(float), (*erf)(float);
    swish_form form;
    bool swap_gelu; /* gelu's tanh form for erf's, and the other way round */
} functions;

static bool is_gelu(const mp_case *c) {
    return c->act == MP_GELU || c->act == MP_GELU_TANH;
}

/* Whether it is another one than those before it, for the case's activation. */
static bool means_something(const functions *f, const mp_case *c) {
    if (f->swap_gelu) return is_gelu(c);
    if (f->form != QUOTIENT) return !is_gelu(c) && c->act != MP_RELU2;
    return true;
}

static float ieee_exp(float v) {
    return mp_expf(v);
}
static float ieee_tanh(float v) {
    return mp_tanhf(v);
}
static float ieee_erf(float v) {
    return mp_erff(v);
}
/* Rounded once from float64: what a function without any error gives, but for a tie in 2^29. */
static float exact_exp(float v) {
    return (float)exp((double)v);
}
static float exact_tanh(float v) {
    return (float)tanh((double)v);
}
static float exact_erf(float v) {
    return (float)erf((double)v);
}

static const functions library[] = {
    {"ieee", "", ieee_exp, ieee_tanh, ieee_erf, QUOTIENT, false},
    {"the C library's", "act.function=library", expf, tanhf, erff, QUOTIENT, false},
    {"the C library's, by a reciprocal", "act.function=library", expf, tanhf, erff, RECIPROCAL, false},
    {"correctly rounded", "act.function=library act.ulps=1", exact_exp, exact_tanh, exact_erf, QUOTIENT,
     false},
    {"correctly rounded, by a reciprocal", "act.function=library", exact_exp, exact_tanh, exact_erf,
     RECIPROCAL, false},
    {"the C library's, silu through tanh", NULL, expf, tanhf, erff, THROUGH_TANH, false},
    {"gelu's other form", NULL, expf, tanhf, erff, QUOTIENT, true},
};
enum { LIBRARY = sizeof library / sizeof *library };

static float swish(const functions *f, float v, float b) {
    switch (f->form) {
    case QUOTIENT: return v / (1.0f + f->exp(-(b * v)));
    case RECIPROCAL: return v * (1.0f / (1.0f + f->exp(-(b * v))));
    case THROUGH_TANH: break;
    }
    return v * (0.5f * (1.0f + f->tanh(0.5f * (b * v))));
}

/* act(gate), and in *factor what up becomes. */
static float activate(const functions *f, const mp_case *c, float gate, float up, float *factor) {
    const float alpha = (float)c->alpha, limit = (float)c->limit;
    mp_activation act = c->act;
    if (f->swap_gelu && is_gelu(c)) act = act == MP_GELU ? MP_GELU_TANH : MP_GELU;
    *factor = up;
    switch (act) {
    case MP_SILU: return swish(f, gate, 1);
    case MP_GELU: return gate * 0.5f * (1.0f + f->erf(gate * 0x1.6a09e6p-1f));
    case MP_GELU_TANH:
        return gate * 0.5f * (1.0f + f->tanh(0x1.988454p-1f * (gate + 0.044715f * (gate * gate * gate))));
    case MP_RELU2: return gate < 0 ? 0 : gate * gate;
    case MP_SWIGLU_OAI: *factor = mp_clamp(up, limit) + 1.0f; return swish(f, mp_at_most(gate, limit), alpha);
    case MP_SILU_CLAMP: *factor = mp_clamp(up, limit); return mp_at_most(swish(f, gate, 1), limit);
    case MP_CLAMP_SILU: *factor = mp_clamp(up, limit); return swish(f, mp_at_most(gate, limit), 1);
    case MP_ACTIVATION_COUNT: break;
    }
    return NAN;
}

/* ---- a row ---- */

/* One row of cache2: by functions of `library`, or (NULL) in float64 throughout; rounding of the gate. */
static void compute_row(const mp_infer_run *r, const functions *f, bool gate_rounded, const float *in,
                        double *result) {
    const mp_case *c = r->c;
    const mp_dtype dtype = r->t[MP_CACHE2].dtype;
    for (int64_t n = 0; n < c->N; n++) {
        const float gate = in[mp_gate_column(c, n)], up = c->gated ? in[mp_up_column(c, n)] : 1;
        if (!f) {
            result[n] = mp_activate(c, (double)gate, (double)up, gate_rounded ? &dtype : NULL);
            continue;
        }
        float factor, a = activate(f, c, gate, up, &factor);
        if (gate_rounded) a = (float)mp_round_to(dtype, (double)a);
        result[n] = (double)(c->gated ? a * factor : a);
    }
}

/* ---- the question ---- */

static bool has_result(const mp_infer_run *r, int64_t slot) {
    return ((const int32_t *)r->t[MP_TOPK_IDS].data)[slot] >= 0 && r->map.cache_row[slot] >= 0;
}

static void set_rounding(const mp_infer_run *r, int question, int rounding, int *value) {
    mp_contract contract = mp_contract_weakest();
    char text[64], keys[80];
    contract.act_rounding = (mp_act_rounding)rounding;
    mp_contract_field(&contract, "act.rounding", text);
    snprintf(keys, sizeof keys, "act.rounding=%s", text);
    *value = mp_evidence_value_of(r->evidence, question, 1, (mp_evidence_value){.name = text, .keys = keys});
}

/* Every store of what compute_row makes; but the nearest, where ref/predict has predicted it. */
static mp_status ask_computed(const mp_infer_run *r, int question, const functions *f, int rounding,
                              int function_value, bool predicted, mp_error *err) {
    const mp_tensor *cache1 = mp_as_read(r->t, MP_CACHE1), *cache2 = &r->t[MP_CACHE2];
    const int64_t width = mp_tensor_row_length(cache1), N = r->c->N, slots = mp_case_slots(r->c);
    int value[MP_STORE_COUNT][MP_EVIDENCE_AXES];
    mp_tally_rows tally[MP_STORE_COUNT] = {{0}};
    bool failed = false;
    for (int s = 0; s < MP_STORE_COUNT; s++) {
        value[s][0] = function_value;
        set_rounding(r, question, rounding, &value[s][1]);
        value[s][2] = mp_store_value(r->evidence, question, 2, (mp_store)s);
    }
#pragma omp parallel for schedule(static, 1)
    for (int s = 0; s < MP_STORE_COUNT; s++) {
        double *result = malloc((size_t)N * 2 * sizeof *result + (size_t)width * sizeof(float));
        if (!result) {
#pragma omp atomic write
            failed = true;
            continue;
        }
        double *codes = result + N;
        float *in = (float *)(codes + N);
        for (int64_t t = 0; t < slots && !mp_tally_is_enough(&tally[s]); t++) {
            if (!has_result(r, t)) continue;
            const int64_t row = r->map.cache_row[t];
            mp_decode_row_f32(cache1->dtype, cache1->data, row * width, width, in);
            compute_row(r, f, rounding == MP_ACT_GATE_ROUNDED, in, result);
            mp_store_row((mp_store)s, cache2->dtype, N, result, codes);
            mp_tally_row(&tally[s], t, cache2, row, codes);
        }
        free(result);
    }
    if (failed) return mp_fail(err, MP_EMEMORY, "infer: no memory for a row of %lld floats", (long long)N);
    for (int s = 0; s < MP_STORE_COUNT; s++)
        if (!(predicted && s == MP_STORE_NEAREST)) mp_tally_take(r, MP_ACT, question, value[s], &tally[s]);
    return MP_OK;
}

/* What ref/predict makes of the contract. */
static mp_status ask_predicted(const mp_infer_run *r, int question, const mp_contract *contract,
                               int function_value, mp_error *err) {
    mp_prediction prediction = {.contract = contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    mp_tensor t[MP_TENSOR_COUNT], predicted = r->t[MP_CACHE2];
    const mp_stage_call call = {.c = r->c, .t = t, .block_size_m = r->block_size_m, .map = &r->map};
    mp_tally_rows tally = {0};
    int value[MP_EVIDENCE_AXES] = {function_value};
    set_rounding(r, question, (int)contract->act_rounding, &value[1]);
    value[2] = mp_store_value(r->evidence, question, 2, MP_STORE_NEAREST);
    memcpy(t, r->t, sizeof t);
    predicted.data = NULL;
    mp_status status = mp_tensor_alloc(&predicted, MP_POISON_A, err);
    t[MP_CACHE2] = predicted;
    if (status == MP_OK) status = executor.stage[MP_ACT](executor.self, &call, err);
    for (int64_t slot = 0; status == MP_OK && slot < mp_case_slots(r->c); slot++) {
        const int64_t row = r->map.cache_row[slot];
        if (has_result(r, slot))
            mp_tally_row(&tally, slot, &r->t[MP_CACHE2], row, mp_tensor_row(&predicted, row));
    }
    if (status == MP_OK) mp_tally_take(r, MP_ACT, question, value, &tally);
    mp_tensor_free(&predicted);
    return status;
}

mp_status mp_infer_act(const mp_infer_run *r, mp_error *err) {
    static const char *const axes[] = {"functions", "rounding", "store", NULL};
    const int question = mp_ask(r->evidence, MP_ACT, "arithmetic", axes);
    mp_contract contract = mp_contract_weakest();
    mp_status status = question < 0 ? mp_fail(err, MP_EMEMORY, "infer: no memory") : MP_OK;
    const char *why;
    for (int f = 0; f < MP_ACT_FUNCTION_COUNT; f++)
        for (int k = 0; k < MP_ACT_ROUNDING_COUNT && status == MP_OK; k++) {
            char text[64], keys[120];
            contract.act_function = (mp_act_function)f;
            contract.act_rounding = (mp_act_rounding)k;
            if (!mp_predictable(&contract, r->c, MP_ACT, &why)) continue;
            mp_contract_field(&contract, "act.function", text);
            snprintf(keys, sizeof keys, "act.function=%s", text);
            if (f == MP_ACT_IEEE)
                snprintf(keys, sizeof keys, "act.function=%s act.ulps=%g", text, MP_FLOAT32_MATH_ULPS);
            const int value = mp_evidence_value_of(r->evidence, question, 0,
                                                   (mp_evidence_value){.name = text, .keys = keys});
            status = ask_predicted(r, question, &contract, value, err);
        }
    for (int i = 0; i <= LIBRARY; i++)
        for (int k = 0; k < MP_ACT_ROUNDING_COUNT && status == MP_OK; k++) {
            if (i < LIBRARY && !means_something(&library[i], r->c)) continue;
            const mp_evidence_value text = {.name = i < LIBRARY ? library[i].name : "float64 throughout",
                                            .keys = i < LIBRARY ? library[i].keys
                                                                : "act.function=library act.ulps=1"};
            const int value = mp_evidence_value_of(r->evidence, question, 0, text);
            contract.act_function = MP_ACT_IEEE;
            contract.act_rounding = (mp_act_rounding)k;
            const bool predicted = i == 0 && mp_predictable(&contract, r->c, MP_ACT, &why);
            status = ask_computed(r, question, i < LIBRARY ? &library[i] : NULL, k, value, predicted, err);
        }
    return status;
}

/* ---- inputs that separate ---- */

enum { CHUNK_ROWS = 256, CHUNK_COLUMNS = 2048, CHUNKS = 8 };

/* Candidate i: a gate that an activation bends, and an up between 1 and 2. */
static void candidate(mp_dtype dtype, int64_t i, double *gate, double *up) {
    const uint64_t bits = (uint64_t)(i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    const double size = ldexp(1 + (double)(bits >> 12 & 0xFFFFF) * 0x1p-20, (int)(bits >> 40 & 7) - 4);
    *gate = mp_round_to(dtype, bits >> 63 ? -size : size);
    *up = mp_round_to(dtype, 1 + (double)(bits >> 44 & 0x7FFFF) * 0x1p-19);
}

/* cache2 of a run under one hypothesis: predicted, where it has a contract, else computed. */
static mp_status fill_cache2(const mp_infer_run *r, const mp_contract *contract, const functions *f,
                             bool gate_rounded, const mp_tensor *cache2, mp_error *err) {
    const int64_t width = mp_tensor_row_length(&r->t[MP_CACHE1]), N = r->c->N;
    bool failed = false;
    if (contract) {
        mp_prediction prediction = {.contract = contract};
        const mp_executor executor = mp_predict_executor(&prediction);
        const mp_stage_call call = {.c = r->c, .t = r->t, .block_size_m = r->block_size_m, .map = &r->map};
        return executor.stage[MP_ACT](executor.self, &call, err);
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < r->c->M; row++) {
        double *result = malloc((size_t)N * sizeof *result + (size_t)width * sizeof(float));
        if (!result) {
#pragma omp atomic write
            failed = true;
            continue;
        }
        float *in = (float *)(result + N);
        mp_decode_row_f32(cache2->dtype, r->t[MP_CACHE1].data, row * width, width, in);
        compute_row(r, f, gate_rounded, in, result);
        mp_encode_row(cache2->dtype, cache2->data, row * N, N, result);
        free(result);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "infer: no memory for a row") : MP_OK;
}

/* Marks with `bit` the elements of cache2 in which a hypothesis and the first one are not of one mind. */
static void mark(const mp_tensor *first, const mp_tensor *cache2, uint64_t bit, uint64_t *differs) {
    const int64_t count = mp_tensor_count(cache2);
    const uint16_t *a = first->data, *b = cache2->data;
    for (int64_t i = 0; i < count && mp_dtype_size(cache2->dtype) == sizeof *a; i++)
        if (a[i] != b[i]) differs[i] |= bit;
    for (int64_t i = 0; i < count && mp_dtype_size(cache2->dtype) != sizeof *a; i++)
        if (mp_code_at(cache2->dtype, first->data, i) != mp_code_at(cache2->dtype, cache2->data, i))
            differs[i] |= bit;
}

static mp_status look_at_chunk(const mp_infer_run *r, const mp_tensor *first, uint64_t *differs,
                               mp_error *err) {
    uint64_t bit = 1;
    const mp_tensor *cache2 = &r->t[MP_CACHE2];
    mp_status status = MP_OK;
    const char *why;
    for (int k = 0; k < MP_ACT_ROUNDING_COUNT; k++) {
        bool any = false;
        mp_contract contract = mp_contract_weakest();
        contract.act_rounding = (mp_act_rounding)k;
        for (int i = 0; i < MP_ACT_FUNCTION_COUNT + LIBRARY + 1 && status == MP_OK; i++) {
            const int l = i - MP_ACT_FUNCTION_COUNT;
            contract.act_function = i < MP_ACT_FUNCTION_COUNT ? (mp_act_function)i : MP_ACT_IEEE;
            const bool predicted = mp_predictable(&contract, r->c, MP_ACT, &why);
            if (l < 0 && !predicted) continue;
            if (l >= 0 && l < LIBRARY && (!means_something(&library[l], r->c) || (l == 0 && predicted)))
                continue;
            status = fill_cache2(r, l < 0 ? &contract : NULL, l >= 0 && l < LIBRARY ? &library[l] : NULL,
                                 k == MP_ACT_GATE_ROUNDED, cache2, err);
            if (status == MP_OK && any) mark(first, cache2, bit, differs);
            if (status == MP_OK && !any) memcpy(first->data, cache2->data, mp_tensor_bytes(cache2));
            any = true;
            bit <<= 1;
        }
    }
    return status;
}

_Static_assert(MP_ACT_ROUNDING_COUNT *(MP_ACT_FUNCTION_COUNT + LIBRARY + 1) <= 64, "a bit for each");

/* So many pairs of each kind, by which hypotheses they set apart: kinds that are common would else leave no
 * room for rare ones. */
enum { OF_A_KIND = 48, KINDS = 256 };
typedef struct kinds {
    uint64_t kind[KINDS];
    int taken[KINDS], count;
} kinds;

static bool take_kind(kinds *k, uint64_t kind) {
    int i = 0;
    while (i < k->count && k->kind[i] != kind) i++;
    if (i == KINDS) return false;
    if (i == k->count) k->kind[k->count++] = kind;
    return k->taken[i]++ < OF_A_KIND;
}

mp_status mp_act_pairs(const mp_case *like, double (*pair)[2], int most, int *count, mp_error *err) {
    mp_case c = mp_case_default();
    c.dtype = like->dtype;
    c.act = like->act;
    c.gated = like->gated;
    c.alpha = like->alpha;
    c.limit = like->limit;
    c.M = CHUNK_ROWS;
    c.topk = 1;
    c.N = CHUNK_COLUMNS;
    c.scope = MP_SCOPE_ACT;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_infer_run r = {.c = &c};
    mp_tensor first = {0};
    const int64_t chunk = c.M * c.N;
    kinds seen = {0};
    uint64_t *differs = malloc((size_t)chunk * sizeof *differs);
    *count = 0;
    mp_status status =
        differs ? mp_inputs_create(&c, &in, err) : mp_fail(err, MP_EMEMORY, "infer: no memory");
    if (status == MP_OK) status = mp_trace_create(&c, 16, MP_POISON_A, &trace, err);
    mp_all_tensors(&in, &trace, r.t);
    if (status == MP_OK) status = mp_slot_map_create(&c, r.t, &r.map, err);
    if (status == MP_OK) {
        first = r.t[MP_CACHE2];
        first.data = NULL;
        status = mp_tensor_alloc(&first, 0, err);
    }
    for (int n = 0; n < CHUNKS && status == MP_OK && *count < most; n++) {
        const mp_tensor *cache1 = &r.t[MP_CACHE1];
        const int64_t width = mp_tensor_row_length(cache1);
        memset(differs, 0, (size_t)chunk * sizeof *differs);
        for (int64_t i = 0; i < chunk; i++) {
            double gate, up;
            candidate(c.dtype, n * chunk + i, &gate, &up);
            const int64_t row = i / c.N * width, column = i % c.N;
            mp_encode(cache1->dtype, cache1->data, row + mp_gate_column(&c, column), gate);
            if (c.gated) mp_encode(cache1->dtype, cache1->data, row + mp_up_column(&c, column), up);
        }
        status = look_at_chunk(&r, &first, differs, err);
        for (int64_t i = 0; i < chunk && status == MP_OK && *count < most; i++)
            if (differs[i] && take_kind(&seen, differs[i])) {
                candidate(c.dtype, n * chunk + i, &pair[*count][0], &pair[*count][1]);
                ++*count;
            }
    }
    mp_tensor_free(&first);
    free(r.map.memory);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    free(differs);
    return status;
}
