/* SPDX-License-Identifier: Apache-2.0 */
/* The activation: whose exp, tanh and erf, where it rounds, how it stores.
 *
 * Every function of the contract's list is asked whose prediction there is (ref/predict). The others are
 * computed here, by the formulas of ref/predict/activation_f32.h with functions of somebody else. */
#include "harness/infer/act_grid.h"
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

static bool is_gelu(const mp_case *c) {
    return c->act == MP_GELU || c->act == MP_GELU_TANH;
}

/* Whether it is another one than those before it, for the case's activation. */
static bool means_something(const functions *f, const mp_case *c) {
    if (c->act == MP_RELU2) return f->exp == ieee_exp; /* it has no function */
    if (f->swap_gelu) return is_gelu(c);
    return f->form == QUOTIENT || !is_gelu(c);
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

/* Puts what the subject left of odd elements in the place of what is predicted, so that they are equal.
 * Returns how many. */
static int64_t leave_odd_out(const mp_infer_run *r, int64_t row, void *predicted) {
    const mp_case *c = r->c;
    const mp_tensor *cache2 = &r->t[MP_CACHE2];
    const size_t size = mp_dtype_size(cache2->dtype);
    int64_t count = 0;
    if (!mp_act_has_odd(c, MP_ODD_NAN) && !mp_act_has_odd(c, MP_ODD_ZERO)) return 0;
    for (int64_t n = 0; n < c->N; n++) {
        double gate, up;
        mp_act_operands(r, row, n, &gate, &up);
        if (mp_act_odd(c, gate, up) == MP_ODD_NOT) continue;
        memcpy((char *)predicted + (size_t)n * size, (char *)cache2->data + (size_t)(row * c->N + n) * size,
               size);
        count++;
    }
    return count;
}

static void compare_row(const mp_infer_run *r, int64_t slot, void *predicted, mp_tally_rows *tally) {
    const int64_t row = r->map.cache_row[slot], left_out = leave_odd_out(r, row, predicted);
    mp_tally_row(tally, slot, &r->t[MP_CACHE2], row, predicted);
    tally->compared -= left_out;
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
            compare_row(r, t, codes, &tally[s]);
        }
        free(result);
    }
    if (failed) return mp_fail(err, MP_EMEMORY, "infer: no memory for a row of %lld floats", (long long)N);
    const bool one_store = f && mp_store_is_exact(cache2->dtype); /* the others are the same */
    for (int s = 0; s < (one_store ? 1 : MP_STORE_COUNT); s++)
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
    for (int64_t slot = 0; status == MP_OK && slot < mp_case_slots(r->c); slot++)
        if (has_result(r, slot))
            compare_row(r, slot, mp_tensor_row(&predicted, r->map.cache_row[slot]), &tally);
    if (status == MP_OK) mp_tally_take(r, MP_ACT, question, value, &tally);
    mp_tensor_free(&predicted);
    return status;
}

/* Whether a gate that is rounded first is another hypothesis: not in front of the store, nor where nothing
 * rounds. */
static bool rounding_is_one(const mp_case *c, const functions *f, int rounding) {
    return rounding == MP_ACT_ONE_ROUNDING || (c->gated && !(f && mp_store_is_exact(c->dtype)));
}

mp_status mp_infer_act(const mp_infer_run *r, mp_error *err) {
    static const char *const axes[] = {"functions", "rounding", "store", NULL};
    const int question = mp_ask(r->evidence, MP_ACT, "arithmetic", axes);
    mp_contract contract = mp_contract_weakest();
    mp_status status = question < 0 ? mp_fail(err, MP_EMEMORY, "infer: no memory") : MP_OK;
    const char *why;
    for (int f = 0; f < MP_ACT_FUNCTION_COUNT; f++)
        for (int k = 0; k < MP_ACT_ANY_ROUNDING && status == MP_OK; k++) {
            char text[64], keys[120];
            contract.act_function = (mp_act_function)f;
            contract.act_rounding = (mp_act_rounding)k;
            if (!mp_predictable(&contract, r->c, MP_ACT, &why)) continue;
            if (!rounding_is_one(r->c, library, k) || (r->c->act == MP_RELU2 && f != MP_ACT_IEEE)) continue;
            mp_contract_field(&contract, "act.function", text);
            snprintf(keys, sizeof keys, "act.function=%s", text);
            if (f == MP_ACT_IEEE)
                snprintf(keys, sizeof keys, "act.function=%s act.ulps=%g", text, MP_FLOAT32_MATH_ULPS);
            const int value = mp_evidence_value_of(r->evidence, question, 0,
                                                   (mp_evidence_value){.name = text, .keys = keys});
            status = ask_predicted(r, question, &contract, value, err);
        }
    for (int i = 0; i <= LIBRARY; i++)
        for (int k = 0; k < MP_ACT_ANY_ROUNDING && status == MP_OK; k++) {
            const functions *own = i < LIBRARY ? &library[i] : NULL;
            if (own ? !means_something(own, r->c) : r->c->act == MP_RELU2) continue;
            if (!rounding_is_one(r->c, own, k)) continue;
            const mp_evidence_value text = {.name = i < LIBRARY ? library[i].name : "float64 throughout",
                                            .keys = i < LIBRARY ? library[i].keys
                                                                : "act.function=library act.ulps=1"};
            const int value = mp_evidence_value_of(r->evidence, question, 0, text);
            contract.act_function = MP_ACT_IEEE;
            contract.act_rounding = (mp_act_rounding)k;
            const bool predicted = i == 0 && mp_predictable(&contract, r->c, MP_ACT, &why);
            status = ask_computed(r, question, own, k, value, predicted, err);
        }
    return status == MP_OK ? mp_infer_odd(r, err) : status;
}

/* ---- inputs that separate ---- */

/* What the activation may be: what ref/predict makes of a contract, functions of `library`, or (neither)
 * float64 throughout. contract.act_rounding says whether the gate is rounded first. */
typedef struct hypothesis {
    mp_contract contract;
    const functions *own;
    bool predicted;
} hypothesis;

enum { HYPOTHESES = MP_ACT_ANY_ROUNDING * (MP_ACT_FUNCTION_COUNT + LIBRARY + 1) };
_Static_assert(HYPOTHESES <= 64, "a bit for each");

/* All that can be for the case; roundings: the first so many of the contract's. */
static int list_hypotheses(const mp_case *c, int roundings, hypothesis *list) {
    const char *why;
    int count = 0;
    for (int k = 0; k < roundings; k++) {
        hypothesis h = {.contract = mp_contract_weakest(), .predicted = true};
        h.contract.act_rounding = (mp_act_rounding)k;
        for (int f = 0; f < MP_ACT_FUNCTION_COUNT; f++) {
            h.contract.act_function = (mp_act_function)f;
            if (mp_predictable(&h.contract, c, MP_ACT, &why)) list[count++] = h;
        }
        h.contract.act_function = MP_ACT_IEEE;
        const bool first_is_known = mp_predictable(&h.contract, c, MP_ACT, &why);
        h.predicted = false;
        for (int i = first_is_known; i < LIBRARY; i++) {
            h.own = &library[i];
            if (means_something(h.own, c)) list[count++] = h;
        }
        h.own = NULL;
        list[count++] = h;
    }
    return count;
}

/* Where pairs of gate and up are activated under one hypothesis after the other. */
typedef struct bench {
    mp_case c;
    mp_inputs in;
    mp_trace trace;
    mp_infer_run run;
} bench;

enum { BENCH_COLUMNS = 256 };

static mp_status open_bench(const mp_case *like, mp_dtype dtype, int64_t pairs, bench *b, mp_error *err) {
    *b = (bench){.c = mp_case_default(), .run = {.c = &b->c}};
    b->c.dtype = dtype;
    b->c.act = like->act;
    b->c.gated = like->gated;
    b->c.alpha = like->alpha;
    b->c.limit = like->limit;
    b->c.M = (pairs + BENCH_COLUMNS - 1) / BENCH_COLUMNS;
    b->c.topk = 1;
    b->c.N = BENCH_COLUMNS;
    b->c.scope = MP_SCOPE_ACT;
    mp_status status = mp_inputs_create(&b->c, &b->in, err);
    if (status == MP_OK) status = mp_trace_create(&b->c, 16, MP_POISON_A, &b->trace, err);
    mp_all_tensors(&b->in, &b->trace, b->run.t);
    return status == MP_OK ? mp_slot_map_create(&b->c, b->run.t, &b->run.map, err) : status;
}

static void close_bench(bench *b) {
    free(b->run.map.memory);
    mp_trace_destroy(&b->trace);
    mp_inputs_destroy(&b->in);
}

static void set_pair(bench *b, int64_t i, double gate, double up) {
    const mp_tensor *cache1 = &b->run.t[MP_CACHE1];
    const int64_t row = i / b->c.N * mp_tensor_row_length(cache1), column = i % b->c.N;
    mp_encode(cache1->dtype, cache1->data, row + mp_gate_column(&b->c, column), gate);
    if (b->c.gated) mp_encode(cache1->dtype, cache1->data, row + mp_up_column(&b->c, column), up);
}

/* cache2 of the bench's pairs under the hypothesis. */
static mp_status activate_pairs(bench *b, hypothesis *h, mp_error *err) {
    const mp_infer_run *r = &b->run;
    const mp_tensor *cache2 = &r->t[MP_CACHE2];
    const int64_t width = mp_tensor_row_length(&r->t[MP_CACHE1]), N = b->c.N;
    if (h->predicted) {
        mp_prediction prediction = {.contract = &h->contract};
        const mp_executor executor = mp_predict_executor(&prediction);
        const mp_stage_call call = {.c = r->c, .t = r->t, .block_size_m = 16, .map = &r->map};
        return executor.stage[MP_ACT](executor.self, &call, err);
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < b->c.M; row++) {
        double result[BENCH_COLUMNS];
        float in[2 * BENCH_COLUMNS];
        mp_decode_row_f32(cache2->dtype, r->t[MP_CACHE1].data, row * width, width, in);
        compute_row(r, h->own, h->contract.act_rounding == MP_ACT_GATE_ROUNDED, in, result);
        mp_encode_row(cache2->dtype, cache2->data, row * N, N, result);
    }
    return MP_OK;
}

/* act(gate) of every gate of the grid under every hypothesis: value [gates, hypotheses]. The factor is 1, and
 * nothing is rounded: float32 is stored as it is. */
static mp_status activate_gates(const mp_case *like, const mp_act_grid *g, float *value, int *hypotheses,
                                mp_error *err) {
    bench b;
    hypothesis list[HYPOTHESES];
    mp_status status = open_bench(like, MP_FP32, g->gates, &b, err);
    const int count = list_hypotheses(&b.c, 1, list);
    for (int64_t i = 0; i < g->gates && status == MP_OK; i++) set_pair(&b, i, mp_act_grid_gate(g, i), 1);
    for (int h = 0; h < count && status == MP_OK; h++) {
        status = activate_pairs(&b, &list[h], err);
        const float *cache2 = b.run.t[MP_CACHE2].data;
        for (int64_t i = 0; i < g->gates && status == MP_OK; i++) value[i * count + h] = cache2[i];
    }
    close_bench(&b);
    *hypotheses = count;
    return status;
}

enum { MARKED = 1 << 17, SCATTERED = 1 << 16, CANDIDATES = MARKED + SCATTERED };
static const uint64_t SCATTER = UINT64_C(0x9E3779B97F4A7C15);

/* The pairs that are marked; if they are more than MARKED, of each gate as many, evenly. */
static void take_marked(const mp_act_grid *g, const uint8_t *marked, double (*pair)[2], int64_t *count) {
    int64_t total = 0;
    for (int64_t i = 0; i < mp_act_grid_count(g); i++) total += marked[i];
    const int64_t of_a_gate = total > MARKED ? MARKED / g->gates : g->ups;
    for (int64_t gate = 0; gate < g->gates; gate++) {
        const uint8_t *marks = marked + gate * g->ups;
        int64_t all = 0, seen = 0, taken = 0;
        for (int64_t up = 0; up < g->ups; up++) all += marks[up];
        for (int64_t up = 0; up < g->ups; up++) {
            if (!marks[up] || (all > of_a_gate && seen++ * of_a_gate / all < taken)) continue;
            mp_act_grid_pair(g, gate * g->ups + up, pair[*count + taken++]);
        }
        *count += taken;
    }
}

/* Candidates in a 16-bit format: those that the grid marks, and others that lie scattered over it. */
static mp_status candidates_of_grid(const mp_case *c, double (*pair)[2], int64_t *count, mp_error *err) {
    const mp_act_grid g = mp_act_grid_of(c->dtype, c->gated);
    const int64_t all = mp_act_grid_count(&g);
    float *value = malloc((size_t)g.gates * HYPOTHESES * sizeof *value),
          *factor = malloc((size_t)g.ups * sizeof *factor);
    uint8_t *marked = malloc((size_t)all);
    int hypotheses = 0;
    mp_status status = value && factor && marked ? activate_gates(c, &g, value, &hypotheses, err)
                                                 : mp_fail(err, MP_EMEMORY, "infer: no memory for pairs");
    if (status == MP_OK) {
        for (int j = 0; j < g.ups; j++)
            factor[j] = mp_up_f32((int)c->act, (float)mp_act_grid_up(&g, j), (float)c->limit);
        mp_act_grid_mark(&g, value, hypotheses, factor, marked);
        take_marked(&g, marked, pair, count);
        for (int64_t n = 0; n < all && n < SCATTERED; n++) {
            const int64_t i = (int64_t)((uint64_t)n * SCATTER % (uint64_t)all); /* each once: a power of 2 */
            if (!marked[i]) mp_act_grid_pair(&g, i, pair[(*count)++]);
        }
    }
    free(value);
    free(factor);
    free(marked);
    return status;
}

/* In wider formats most functions differ for some gates of a hundred. */
static void candidates_at_random(mp_dtype dtype, double (*pair)[2], int64_t *count) {
    for (; *count < SCATTERED; ++*count) {
        const uint64_t bits = (uint64_t)(*count + 1) * SCATTER;
        const double size = ldexp(1 + (double)(bits >> 12 & 0xFFFFF) * 0x1p-20, (int)(bits >> 40 & 7) - 4);
        pair[*count][0] = mp_round_to(dtype, bits >> 63 ? -size : size);
        pair[*count][1] = mp_round_to(dtype, 1 + (double)(bits >> 44 & 0x7FFFF) * 0x1p-19);
    }
}

/* Marks with `bit` the elements of cache2 in which a hypothesis and the first one are not of one mind. */
static void mark(const mp_tensor *first, const mp_tensor *cache2, int64_t count, uint64_t bit,
                 uint64_t *differs) {
    const uint16_t *a = first->data, *b = cache2->data;
    for (int64_t i = 0; i < count && mp_dtype_size(cache2->dtype) == sizeof *a; i++)
        if (a[i] != b[i]) differs[i] |= bit;
    for (int64_t i = 0; i < count && mp_dtype_size(cache2->dtype) != sizeof *a; i++)
        if (mp_code_at(cache2->dtype, first->data, i) != mp_code_at(cache2->dtype, cache2->data, i))
            differs[i] |= bit;
}

/* A bit for each hypothesis, in `differs`, that is not of one mind with the first. */
static mp_status look_at(bench *b, int64_t count, uint64_t *differs, mp_error *err) {
    hypothesis list[HYPOTHESES];
    const int hypotheses = list_hypotheses(&b->c, MP_ACT_ANY_ROUNDING, list);
    const mp_tensor *cache2 = &b->run.t[MP_CACHE2];
    mp_tensor first = *cache2;
    first.data = NULL;
    mp_status status = mp_tensor_alloc(&first, 0, err);
    for (int h = 0; h < hypotheses && status == MP_OK; h++) {
        status = activate_pairs(b, &list[h], err);
        if (h == 0) memcpy(first.data, cache2->data, mp_tensor_bytes(cache2));
        if (status == MP_OK) mark(&first, cache2, count, UINT64_C(1) << h, differs);
    }
    mp_tensor_free(&first);
    return status;
}

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
    double(*candidate)[2] = malloc(CANDIDATES * sizeof *candidate);
    uint64_t *differs = calloc(CANDIDATES, sizeof *differs);
    bench b = {0};
    int64_t candidates = 0;
    kinds seen = {0};
    *count = 0;
    mp_status status = candidate && differs ? MP_OK : mp_fail(err, MP_EMEMORY, "infer: no memory for pairs");
    if (status == MP_OK && mp_dtype_size(like->dtype) == sizeof(uint16_t))
        status = candidates_of_grid(like, candidate, &candidates, err);
    else if (status == MP_OK)
        candidates_at_random(like->dtype, candidate, &candidates);
    if (status == MP_OK) status = open_bench(like, like->dtype, candidates, &b, err);
    for (int64_t i = 0; i < candidates && status == MP_OK; i++)
        set_pair(&b, i, candidate[i][0], candidate[i][1]);
    if (status == MP_OK) status = look_at(&b, candidates, differs, err);
    for (int64_t i = 0; i < candidates && status == MP_OK && *count < most; i++)
        if (differs[i] && take_kind(&seen, differs[i])) {
            memcpy(pair[*count], candidate[i], sizeof *candidate);
            ++*count;
        }
    close_bench(&b);
    free(candidate);
    free(differs);
    return status;
}
