/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/gemm.h"

#include "base/threads.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "ref/engine.h"
#include "ref/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a thread needs for a slot: a row of a and of its radii, a row of w, and a row of each result. */
typedef struct plain {
    double *a, *sure_a, *det_a, *random_a, *w;
    double *value, *mass, *sure, *det, *random;
    void *memory;
} plain;

static bool plain_create(plain *b, size_t N, size_t K) {
    double **const of_k[] = {&b->a, &b->sure_a, &b->det_a, &b->random_a, &b->w},
                   **const of_n[] = {&b->value, &b->mass, &b->sure, &b->det, &b->random};
    double *at = b->memory = calloc(5 * (N + K), sizeof *at);
    if (!at) return false;
    for (int i = 0; i < 5; i++, at += K) *of_k[i] = at;
    for (int i = 0; i < 5; i++, at += N) *of_n[i] = at;
    return true;
}

/* Of one column, whose row of w is there. */
static void plain_radii(const plain *b, int64_t K, int64_t n) {
    double sure = 0, det = 0, random = 0;
    for (int64_t k = 0; k < K; k++) {
        const double spread = b->random_a[k] * b->w[k];
        sure += b->sure_a[k] * fabs(b->w[k]);
        det += b->det_a[k] * fabs(b->w[k]);
        random += spread * spread;
    }
    b->sure[n] = sure;
    b->det[n] = det;
    b->random[n] = random;
}

/* One slot: every column by a loop over k. */
static void plain_slot(const mp_gemm_problem *p, int64_t t, bool with_mass, const plain *b,
                       mp_gemm_visit visit, void *ctx) {
    const int64_t N = p->w.codes->dim[1], K = p->w.codes->dim[2], expert = p->topk_ids[t], row = p->a_row[t];
    const mp_gemm_radii *r = p->radii;
    mp_operand_decode(&p->a, row, 0, K, b->a);
    if (r) mp_decode_row(MP_FP64, r->sure->data, row * K, K, b->sure_a);
    if (r && r->det) mp_decode_row(MP_FP64, r->det->data, row * K, K, b->det_a);
    if (r && r->random) mp_decode_row(MP_FP64, r->random->data, row * K, K, b->random_a);
    for (int64_t n = 0; n < N; n++) {
        mp_operand_decode(&p->w, expert * N + n, 0, K, b->w);
        double sum = 0, magnitudes = 0;
        for (int64_t k = 0; k < K; k++) {
            sum += b->a[k] * b->w[k];
            magnitudes += fabs(b->a[k] * b->w[k]);
        }
        b->value[n] = sum;
        b->mass[n] = magnitudes;
        if (r) plain_radii(b, K, n);
    }
    visit(ctx, &(mp_gemm_tile){.expert = expert,
                               .count = 1,
                               .n0 = 0,
                               .n = N,
                               .slot = &t,
                               .value = b->value,
                               .mass = with_mass ? b->mass : NULL,
                               .sure = r ? b->sure : NULL,
                               .det = r && r->det ? b->det : NULL,
                               .random = r && r->random ? b->random : NULL});
}

static mp_status gemm_plain(const mp_engine *self, const mp_gemm_problem *p, bool with_mass,
                            mp_gemm_visit visit, void *ctx, mp_error *err) {
    const size_t N = (size_t)p->w.codes->dim[1], K = (size_t)p->w.codes->dim[2];
    bool failed = false;
    (void)self;
#pragma omp parallel if (mp_worth_threads(p->slots, (int64_t)(N * K)))
    {
        plain buffers = {0};
        if (!plain_create(&buffers, N, K)) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic, 16)
        for (int64_t t = 0; t < p->slots; t++)
            if (buffers.memory && p->topk_ids[t] >= 0 && p->a_row[t] >= 0)
                plain_slot(p, t, with_mass, &buffers, visit, ctx);
        free(buffers.memory);
    }
    return failed ? mp_fail(err, MP_EMEMORY, "gemm: no memory for rows of %zu and %zu float64", K, N) : MP_OK;
}

static const char *plain_name(const mp_engine *self) {
    (void)self;
    return "plain loops";
}

const mp_engine mp_engine_plain = {.name = plain_name, .gemm_float64 = gemm_plain};

mp_status mp_gemm_float64(const mp_engine *engine, const mp_gemm_problem *problem, bool with_mass,
                          mp_gemm_visit visit, void *ctx, mp_error *err) {
    if (!engine->state) mp_gemm_make_operands(problem); /* one with a state has them elsewhere */
    return engine->gemm_float64(engine, problem, with_mass, visit, ctx, err);
}

bool *mp_experts_read(const mp_gemm_problem *p) {
    bool *read = calloc((size_t)p->w.codes->dim[0], sizeof *read);
    for (int64_t t = 0; read && t < p->slots; t++)
        if (p->topk_ids[t] >= 0 && p->a_row[t] >= 0) read[p->topk_ids[t]] = true;
    return read;
}

void mp_gemm_make_operands(const mp_gemm_problem *p) {
    mp_tensor_make_rows(p->a.codes, p->a_row, p->slots);
    if (!p->w.codes->maker) return;
    bool *read = mp_experts_read(p);
    mp_tensor_make(p->w.codes, read);
    free(read);
}

struct store {
    const mp_epilogue *epilogue;
    const int64_t *out_row;
    const mp_tensor *out;
};

static void store_tile(void *ctx, const mp_gemm_tile *tile) {
    const struct store *s = ctx;
    const int64_t width = mp_tensor_row_length(s->out);
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t slot = tile->slot[i], row = s->out_row ? s->out_row[slot] : slot;
        if (row < 0) continue;
        const int64_t at = row * width + tile->n0;
        if (mp_epilogue_is_empty(s->epilogue)) {
            mp_encode_row(s->out->dtype, s->out->data, at, tile->n, tile->value + i * tile->n);
            continue;
        }
        for (int64_t j = 0; j < tile->n; j++)
            mp_encode(s->out->dtype, s->out->data, at + j,
                      mp_epilogue_apply(s->epilogue, tile->value[i * tile->n + j], tile->expert, tile->n0 + j,
                                        slot));
    }
}

void mp_gemm_zero_filtered(const mp_gemm_problem *problem, const int64_t *out_row, const mp_tensor *out) {
    const size_t row_bytes = mp_tensor_row_bytes(out);
    for (int64_t t = 0; t < problem->slots; t++) {
        const int64_t row = out_row ? out_row[t] : t;
        if (problem->topk_ids[t] < 0 && row >= 0) memset(mp_tensor_row(out, row), 0, row_bytes);
    }
}

mp_status mp_gemm_stage(const mp_engine *engine, const mp_gemm_problem *problem, const mp_epilogue *epilogue,
                        const int64_t *out_row, const mp_tensor *out, mp_error *err) {
    mp_gemm_zero_filtered(problem, out_row, out);
    struct store s = {epilogue, out_row, out};
    return mp_gemm_float64(engine, problem, false, store_tile, &s, err);
}

/* The tensor where the case has it, or NULL. */
static const mp_tensor *there(const mp_tensor *t) {
    return t->data ? t : NULL;
}

static mp_operand weights(const mp_case *c, const mp_tensor *codes, const mp_tensor *scale,
                          const mp_tensor *zeros, const mp_tensor *global) {
    const mp_scheme *s = mp_scheme_of(c);
    const int64_t group = mp_case_group(c);
    if (!c->quant) return (mp_operand){.codes = codes};
    return (mp_operand){.codes = codes,
                        .scale = scale,
                        .block_rows = s->block_rows == MP_WHOLE_AXIS ? codes->dim[1] : s->block_rows,
                        .block_columns = group == MP_WHOLE_AXIS ? codes->dim[2] : group,
                        .zero = s->zero,
                        .zeros = there(zeros),
                        .zeros_in_pairs = mp_dtype_is_packed(codes->dtype),
                        .global = there(global),
                        .globals_alternate = c->interleaved,
                        .rounds = s->enters == MP_SCALES_BEFORE,
                        .rounded = c->dtype};
}

/* Codes where they were made of the numbers; else these. */
static mp_operand activations(const mp_case *c, const mp_tensor *numbers, const mp_tensor *codes,
                              const mp_tensor *scale, const mp_tensor *given) {
    const mp_scheme *s = mp_scheme_of(c);
    if (!codes->data) return (mp_operand){.codes = numbers};
    const bool shared = s->granularity == MP_PER_TENSOR;
    return (mp_operand){.codes = codes,
                        .scale = scale,
                        .block_rows = shared && codes->dim[0] > 0 ? codes->dim[0] : 1,
                        .block_columns = s->granularity == MP_PER_GROUP ? mp_case_group(c) : codes->dim[1],
                        .global = s->made ? there(given) : NULL,
                        .rounds = s->enters == MP_SCALES_BEFORE,
                        .rounded = c->dtype};
}

mp_stage_gemm mp_gemm_of_stage(const mp_stage_call *call, mp_stage stage) {
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const bool up = stage == MP_GATE_UP;
    return (mp_stage_gemm){
        .problem = {.a = up ? activations(c, &t[MP_X], &t[MP_X_CODES], mp_codes_scale(c, t, MP_QUANT_X),
                                          &t[MP_X_GIVEN_SCALE])
                            : activations(c, mp_as_read(t, MP_CACHE2), &t[MP_CACHE2_CODES],
                                          mp_codes_scale(c, t, MP_QUANT_ACT), &t[MP_CACHE2_GIVEN_SCALE]),
                    .a_row = up ? call->map->x_row : call->map->cache_row,
                    .w = weights(c, &t[up ? MP_W1 : MP_W2], &t[up ? MP_W1_SCALE : MP_W2_SCALE],
                                 &t[up ? MP_W1_ZERO : MP_W2_ZERO],
                                 &t[up ? MP_W1_GLOBAL_SCALE : MP_W2_GLOBAL_SCALE]),
                    .topk_ids = t[MP_TOPK_IDS].data,
                    .slots = mp_case_slots(c)},
        .epilogue = mp_epilogue_of(c, t, stage),
        .out_row = up ? call->map->cache_row : NULL,
        .out = &t[mp_stage_output(c, stage)],
    };
}

mp_stage_gemm mp_gemm_under(const mp_stage_call *call, mp_stage stage, const mp_gemm_contract *contract) {
    mp_stage_gemm g = mp_gemm_of_stage(call, stage);
    if (contract->accumulator == MP_ACC_BLOCK_SCALED) g.problem.a.rounds = g.problem.w.rounds = false;
    return g;
}

static mp_status gemm_stage(const mp_reference *self, const mp_stage_call *call, mp_stage stage,
                            mp_error *err) {
    const mp_stage_gemm g = mp_gemm_of_stage(call, stage);
    return mp_gemm_stage(self->engine, &g.problem, &g.epilogue, g.out_row, g.out, err);
}

mp_status mp_ref_stage_gate_up(void *self, const mp_stage_call *call, mp_error *err) {
    return gemm_stage(self, call, MP_GATE_UP, err);
}

mp_status mp_ref_stage_down(void *self, const mp_stage_call *call, mp_error *err) {
    return gemm_stage(self, call, MP_DOWN, err);
}
