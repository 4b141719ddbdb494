/* SPDX-License-Identifier: Apache-2.0 */
/* ref/gemm.c, gemm_tasks.c, gemm_blas.c: both engines against long double sums and against each other, and
 * the stage's epilogue. */
#include "cases/graph_tables.h"
#include "moeparity/matrix.h"
#include "ref/bounds.h"
#include "ref/engine.h"
#include "ref/gemm.h"
#include "ref/gemm_tasks.h"
#include "ref/pipeline.h"
#include "tests/ref_support.h"

static const mp_engine *const engines[] = {&mp_engine_plain, &mp_engine_blas};

/* ---- what an engine hands out, in one array; elements of slots that `only` leaves out are counted but not
 * kept ---- */

typedef struct collected {
    const int32_t *topk_ids;
    const int64_t *index; /* [slots] row of value and mass; -1: not kept. NULL: the slot itself */
    int64_t rows, N;
    double *value, *mass;
    int *visits;
    bool wrong_expert, has_mass;
} collected;

static void collect(void *ctx, const mp_gemm_tile *tile) { /* on many threads: no assertion here */
    collected *r = ctx;
    for (int64_t i = 0; i < tile->count; i++) {
        const int64_t slot = tile->slot[i], row = r->index ? r->index[slot] : slot;
        if (row < 0) continue;
        if (tile->expert != r->topk_ids[slot]) {
#pragma omp atomic write
            r->wrong_expert = true;
        }
        for (int64_t j = 0; j < tile->n; j++) {
            const int64_t at = row * r->N + tile->n0 + j;
#pragma omp atomic
            r->visits[at]++;
            r->value[at] = tile->value[i * tile->n + j];
            if (r->has_mass) r->mass[at] = tile->mass[i * tile->n + j];
        }
    }
}

static collected run_engine(const mp_engine *engine, const mp_gemm_problem *p, bool with_mass,
                            const int64_t *index, int64_t rows) {
    mp_error err;
    collected r = {.topk_ids = p->topk_ids,
                   .index = index,
                   .rows = rows,
                   .N = p->w.codes->dim[1],
                   .has_mass = with_mass};
    r.value = allocated(rows * r.N, sizeof *r.value);
    r.mass = allocated(rows * r.N, sizeof *r.mass);
    r.visits = allocated(rows * r.N, sizeof *r.visits);
    if (mp_gemm_float64(engine, p, with_mass, collect, &r, &err)) fail_msg("%s", err.text);
    assert_false(r.wrong_expert);
    return r;
}

static void collected_free(collected *r) {
    free(r->value);
    free(r->mass);
    free(r->visits);
}

/* ---- problems of their own ---- */

typedef enum routing { SPREAD, HOT, ALL_FILTERED } routing;

typedef struct shape {
    int64_t tokens, topk, E, N, K;
    mp_dtype a, w;
    routing routing;
    bool some_without_row;
} shape;

typedef struct problem {
    mp_gemm_problem p;
    mp_tensor a, w;
    int64_t *a_row;
    int32_t *ids;
} problem;

static void fill(rng *r, const mp_tensor *t) {
    for (int64_t i = 0; i < mp_tensor_count(t); i++) mp_encode(t->dtype, t->data, i, random_wide(r, -6, 3));
}

/* Rows of a are not in slot order, so that a row taken from a slot's number shows. */
static void problem_create(problem *q, const shape *s, rng *r) {
    const int64_t slots = s->tokens * s->topk;
    q->a = allocated_tensor(s->a, s->tokens, s->K, 0);
    q->w = allocated_tensor(s->w, s->E, s->N, s->K);
    q->a_row = allocated(slots, sizeof *q->a_row);
    q->ids = allocated(slots, sizeof *q->ids);
    fill(r, &q->a);
    fill(r, &q->w);
    for (int64_t t = 0; t < slots; t++) {
        q->a_row[t] = s->some_without_row && t % 5 == 3 ? -1 : s->tokens - 1 - t / s->topk;
        q->ids[t] = (int32_t)random_below(r, s->E + 1) - 1;
        if (s->routing == ALL_FILTERED) q->ids[t] = -1;
        if (s->routing == HOT && t % 16) q->ids[t] = (int32_t)s->E / 2;
    }
    q->p = (mp_gemm_problem){
        .a = {.codes = &q->a}, .a_row = q->a_row, .w = {.codes = &q->w}, .topk_ids = q->ids, .slots = slots};
}

static void problem_free(problem *q) {
    mp_tensor_free(&q->a);
    mp_tensor_free(&q->w);
    free(q->a_row);
    free(q->ids);
}

static const shape shapes[] = {
    /* tokens topk E N K   formats          routing */
    {5, 2, 3, 7, 11, MP_BF16, MP_BF16, SPREAD, false},
    {1, 1, 1, 1, 1, MP_FP32, MP_FP32, SPREAD, false},
    {33, 3, 8, MP_SLAB_COLUMNS + 1, 1, MP_BF16, MP_BF16, SPREAD, false}, /* one column behind a slab, K=1 */
    {6, 4, 64, MP_SLAB_COLUMNS, 40, MP_FP16, MP_FP16, SPREAD,
     false}, /* more experts than slots: most are empty */
    {19, 2, 5, 2 * MP_SLAB_COLUMNS + 3, 130, MP_FP32, MP_FP32, SPREAD, true},
    {40, 2, 4, 24, 517, MP_BF16, MP_BF16, HOT, true},
    {MP_SLAB_SLOTS + 300, 1, 3, 9, 6, MP_BF16, MP_BF16, HOT,
     false},                                             /* the hot expert needs two slabs of slots */
    {1500, 1, 2, 4, 3, MP_BF16, MP_FP16, HOT, false},    /* nearly a whole slab of slots */
    {20, 2, 3, 17, 33, MP_FP64, MP_BF16, SPREAD, false}, /* down of the exact mode: products round too */
    {13, 2, 4, 10, 9, MP_BF16, MP_BF16, ALL_FILTERED, false},
    {2, 3, 2, 5, 9000, MP_FP32, MP_BF16, SPREAD, false},
};

/* K products, each exact (or rounded once, fp64 operand), in K-1 additions: |value - exact| <= gamma_K(2^-53)
 * * mass, and so for the mass. Long double has 2^-11 of that error. */
static void check_element(const problem *q, const collected *r, int64_t t, int64_t n) {
    const int64_t K = q->w.dim[2], at = t * r->N + n;
    long double exact = 0, mass = 0;
    for (int64_t k = 0; k < K; k++) {
        const long double product =
            (long double)mp_decode(q->a.dtype, q->a.data, q->a_row[t] * K + k) *
            (long double)mp_decode(q->w.dtype, q->w.data, (q->ids[t] * r->N + n) * K + k);
        exact += product;
        mass += fabsl(product);
    }
    const long double bound = (long double)mp_gamma((double)K, 0x1p-53) * mass * (1 + 0x1p-8L);
    if (!(fabsl((long double)r->value[at] - exact) <= bound) ||
        !(fabsl((long double)r->mass[at] - mass) <= bound))
        fail_msg("slot %lld column %lld: %.17g mass %.17g, expected %.17Lg mass %.17Lg +- %.3Lg",
                 (long long)t, (long long)n, r->value[at], r->mass[at], exact, mass, bound);
    assert_true(r->mass[at] >=
                fabs(r->value[at])); /* rounding is monotonic, and both sums have the same order */
}

static void engines_compute_the_definition(void **unused) {
    (void)unused;
    rng r = {3};
    for (size_t s = 0; s < COUNT(shapes); s++) {
        problem q;
        problem_create(&q, &shapes[s], &r);
        for (size_t e = 0; e < COUNT(engines); e++) {
            collected with = run_engine(engines[e], &q.p, true, NULL, q.p.slots),
                      without = run_engine(engines[e], &q.p, false, NULL, q.p.slots);
            for (int64_t t = 0; t < q.p.slots; t++) {
                const int expected_visits = q.ids[t] >= 0 && q.a_row[t] >= 0;
                for (int64_t n = 0; n < with.N; n++) {
                    assert_int_equal(with.visits[t * with.N + n], expected_visits);
                    assert_int_equal(without.visits[t * with.N + n], expected_visits);
                    assert_true(with.value[t * with.N + n] == without.value[t * with.N + n]);
                    if (expected_visits) check_element(&q, &with, t, n);
                }
            }
            collected_free(&with);
            collected_free(&without);
        }
        problem_free(&q);
    }
}

/* What an engine makes of radii, for one element of each tile; the rest is the same loop. */
typedef struct radii_check {
    const problem *q;
    const mp_gemm_radii *radii;
    bool wrong;
} radii_check;

static bool close_to(double got, long double expected, int64_t K) {
    return fabsl((long double)got - expected) <= 4 * (long double)mp_gamma((double)K, 0x1p-53) * expected;
}

static void check_radii(void *ctx, const mp_gemm_tile *tile) { /* on many threads */
    radii_check *c = ctx;
    const problem *q = c->q;
    const int64_t K = q->w.dim[2];
    const mp_tensor *const part[] = {c->radii->sure, c->radii->det, c->radii->random};
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t j = 0; j < tile->n; j++) {
            long double sum[3] = {0, 0, 0};
            for (int64_t k = 0; k < K; k++) {
                const int64_t at = q->a_row[tile->slot[i]] * K + k;
                const double w =
                    mp_decode(q->w.dtype, q->w.data, (tile->expert * q->w.dim[1] + tile->n0 + j) * K + k);
                for (int p = 0; p < 3 && part[p]; p++) {
                    const long double term = (long double)((double *)part[p]->data)[at] * fabsl(w);
                    sum[p] += p == 2 ? term * term : term;
                }
            }
            const int64_t at = i * tile->n + j;
            if (!close_to(tile->sure[at], sum[0], K) || (tile->det && !close_to(tile->det[at], sum[1], K)) ||
                (tile->det && !close_to(tile->random[at], sum[2], K))) {
#pragma omp atomic write
                c->wrong = true;
            }
        }
}

/* sure and det in magnitudes, random in squares; and the values are those without them. */
static void radii_are_summed_beside_the_values(void **unused) {
    (void)unused;
    mp_error err;
    rng r = {5};
    for (size_t s = 0; s < COUNT(shapes); s++) {
        problem q;
        problem_create(&q, &shapes[s], &r);
        mp_tensor part[3];
        for (int p = 0; p < 3; p++) {
            part[p] = allocated_tensor(MP_FP64, q.a.dim[0], q.a.dim[1], 0);
            for (int64_t i = 0; i < mp_tensor_count(&part[p]); i++)
                ((double *)part[p].data)[i] = fabs(random_wide(&r, -30, 3));
        }
        const mp_gemm_radii all = {&part[0], &part[1], &part[2]}, sure = {.sure = &part[0]};
        for (size_t e = 0; e < COUNT(engines); e++) {
            mp_gemm_problem p = q.p;
            const collected without = run_engine(engines[e], &p, true, NULL, p.slots);
            const mp_gemm_radii *const asked[] = {&all, &sure};
            for (int i = 0; i < 2; i++) {
                radii_check c = {.q = &q, .radii = p.radii = asked[i]};
                assert_int_equal(mp_gemm_float64(engines[e], &p, true, check_radii, &c, &err), MP_OK);
                assert_false(c.wrong);
                collected with = run_engine(engines[e], &p, true, NULL, p.slots);
                for (int64_t k = 0; k < p.slots * with.N; k++)
                    assert_true(!with.visits[k] ||
                                (with.value[k] == without.value[k] && with.mass[k] == without.mass[k]));
                collected_free(&with);
            }
            collected_free((collected *)&without);
        }
        for (int k = 0; k < 3; k++) mp_tensor_free(&part[k]);
        problem_free(&q);
    }
}

static void tasks_cover_every_slot_and_column_once(void **unused) {
    (void)unused;
    mp_error err;
    rng r = {4};
    for (size_t s = 0; s < COUNT(shapes); s++) {
        problem q;
        problem_create(&q, &shapes[s], &r);
        mp_gemm_tasks tasks;
        const int64_t columns = s % 2 ? MP_SLAB_COLUMNS : mp_dgemm_columns(q.w.dim[2]);
        assert_int_equal(mp_gemm_tasks_create_wide(&q.p, columns, &tasks, &err), MP_OK);
        int64_t covered = 0, expected = 0;
        for (int64_t t = 0; t < q.p.slots; t++) expected += q.ids[t] >= 0 && q.a_row[t] >= 0 ? q.w.dim[1] : 0;
        for (int64_t i = 0; i < tasks.count; i++) {
            const mp_gemm_task *task = &tasks.task[i];
            assert_true(task->count > 0 && task->count <= MP_SLAB_SLOTS && task->n > 0 && task->n <= columns);
            for (int64_t j = 1; j < task->count; j++)
                assert_true(tasks.order[task->first + j] > tasks.order[task->first + j - 1]);
            covered += task->count * task->n;
        }
        assert_int_equal(covered, expected); /* that none comes twice is seen above, from the outside */
        mp_gemm_tasks_destroy(&tasks);
        problem_free(&q);
    }
}

/* Operands of 2^21 elements at most, but for the fewest rows and the usual columns. */
static void a_dgemm_is_as_large_as_its_terms_allow(void **unused) {
    (void)unused;
    for (int64_t K = 0; K < 200000; K = K * 5 / 4 + 1) {
        const int64_t rows = mp_dgemm_rows(K), columns = mp_dgemm_columns(K);
        assert_in_range(rows, 32, 1024);
        assert_in_range(columns, 512, 1024);
        assert_true(rows * K <= 1 << 21 || rows == 32);
        assert_true(columns * K <= 1 << 21 || columns == 512);
    }
    assert_true(mp_dgemm_rows(512) == 512 && mp_dgemm_rows(2048) == 1024 && mp_dgemm_columns(2048) == 1024);
}

/* ---- every case of the seed and option matrices ---- */

/* Both engines are within gamma_K(2^-53) * mass of the exact sum. Inf and NaN must be the same on both
 * sides. */
static bool agree(double a, double b, double mass, int64_t K) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return !isfinite(mass) || fabs(a - b) <= 2 * mp_gamma((double)K, 0x1p-53) * mass * (1 + 0x1p-20);
}

/* OpenBLAS takes every slot, the plain loops one of keep_every. */
static void check_engines_agree(const char *name, const mp_gemm_problem *p, int64_t keep_every) {
    const int64_t K = p->w.codes->dim[2];
    int64_t kept = 0, *index = allocated(p->slots, sizeof *index),
            *plain_row = allocated(p->slots, sizeof *plain_row);
    for (int64_t t = 0; t < p->slots; t++) {
        index[t] = t % keep_every == 0 ? kept++ : -1;
        plain_row[t] = index[t] >= 0 ? p->a_row[t] : -1;
    }
    mp_gemm_problem few = *p;
    few.a_row = plain_row;
    collected plain = run_engine(&mp_engine_plain, &few, true, index, kept),
              blas = run_engine(&mp_engine_blas, p, true, index, kept);
    for (int64_t i = 0; i < kept * plain.N; i++) {
        assert_int_equal(plain.visits[i], blas.visits[i]);
        if (!agree(plain.value[i], blas.value[i], plain.mass[i], K) ||
            !agree(plain.mass[i], blas.mass[i], plain.mass[i], K))
            fail_msg("%s: kept slot %lld column %lld: plain %.17g mass %.17g, OpenBLAS %.17g mass %.17g",
                     name, (long long)(i / plain.N), (long long)(i % plain.N), plain.value[i], plain.mass[i],
                     blas.value[i], blas.mass[i]);
    }
    collected_free(&plain);
    collected_free(&blas);
    free(index);
    free(plain_row);
}

/* Of a long case the first MOST_TOKENS tokens run, enough for several slabs an expert, and the plain loops,
 * which are the definition and not fast, take about FEW_SLOTS of their slots. */
static void check_case(const mp_case *c) {
    enum { MOST_TOKENS = 10000, FEW_SLOTS = 100 };
    mp_error err;
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    mp_case part = *c;
    if (part.M > MOST_TOKENS) part.M = MOST_TOKENS;
    const int64_t slots = mp_case_slots(&part), keep_every = slots <= FEW_SLOTS ? 1 : slots / FEW_SLOTS;
    const int block_size_m = mp_tile_is_auto(&c->tile) ? 16 : c->tile.block_size_m;
    mp_inputs all;
    mp_trace trace;
    mp_slot_map map;
    if (mp_inputs_create(c, &all, &err)) fail_msg("%s: %s", name, err.text);
    mp_inputs in = all;
    mp_token_window(c, 0, part.M, all.t, in.t);
    if (mp_ref_run(&part, &in, block_size_m, &mp_engine_blas, MP_POISON_A, &trace, &err) ||
        mp_slot_map_create(&part, trace.t, &map, &err))
        fail_msg("%s: %s", name, err.text);
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(&in, &trace, t);
    const mp_stage_call call = {.c = &part, .t = t, .block_size_m = block_size_m, .map = &map};
    const mp_stage_gemm gate_up = mp_gemm_of_stage(&call, MP_GATE_UP),
                        down = mp_gemm_of_stage(&call, MP_DOWN);
    check_engines_agree(name, &gate_up.problem, keep_every);
    check_engines_agree(name, &down.problem, keep_every);
    free(map.memory);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&all);
}

static void engines_agree_on_every_ci_case(void **unused) {
    (void)unused;
    mp_error err;
    mp_matrix m = {0};
    if (mp_matrix_load(&m, MP_MATRIX_FOLDER "/seed.yaml", &err) ||
        mp_matrix_load(&m, MP_MATRIX_FOLDER "/options.yaml", &err) || mp_matrix_select(&m, MP_CI, NULL, &err))
        fail_msg("%s", err.text);
    int64_t judged = 0;
    for (size_t i = 0; i < m.count; i++) {
        if (m.rows[i].c.scope != MP_SCOPE_ALL) continue;
        check_case(&m.rows[i].c);
        judged++;
    }
    assert_true(judged > 200);
    mp_matrix_free(&m);
}

/* ---- the stage: epilogue, store, filtered slots ---- */

static void bias_comes_before_the_router_weight(void **unused) {
    (void)unused;
    const mp_tensor bias = allocated_tensor(MP_BF16, 3, 4, 0);
    for (int64_t i = 0; i < 12; i++) mp_encode(MP_BF16, bias.data, i, (double)i);
    const float weights[] = {0.5f, 2, -4};
    const mp_epilogue none = {0}, bias_only = {.bias = &bias}, weight_only = {.weights = weights},
                      both = {.bias = &bias, .weights = weights};
    /* expert 2, column 1: bias 9; slot 2: weight -4 */
    assert_true(mp_epilogue_apply(&none, 3, 2, 1, 2) == 3);
    assert_true(mp_epilogue_apply(&bias_only, 3, 2, 1, 2) == 12);
    assert_true(mp_epilogue_apply(&weight_only, 3, 2, 1, 2) == -12);
    assert_true(mp_epilogue_apply(&both, 3, 2, 1, 2) == -48);
    mp_tensor owned = bias;
    mp_tensor_free(&owned);
}

/* Small integers: every sum is exact, so that the stored bits are known. Rows of out that no slot owns, or
 * whose slot has no row of a, stay poisoned. */
static void the_stage_stores_each_slot_once_rounded(void **unused) {
    (void)unused;
    enum { TOKENS = 9, TOPK = 2, SLOTS = TOKENS * TOPK, E = 4, N = 259, K = 5, ROWS = SLOTS + 7 };
    rng r = {5};
    for (size_t e = 0; e < COUNT(engines); e++) {
        mp_error err;
        problem q;
        problem_create(&q, &(shape){TOKENS, TOPK, E, N, K, MP_BF16, MP_BF16, SPREAD, true}, &r);
        mp_tensor bias = allocated_tensor(MP_BF16, E, N, 0), out = allocated_tensor(MP_BF16, ROWS, N, 0);
        for (int64_t i = 0; i < mp_tensor_count(&q.a); i++)
            mp_encode(MP_BF16, q.a.data, i, (double)random_below(&r, 31) - 15);
        for (int64_t i = 0; i < mp_tensor_count(&q.w); i++)
            mp_encode(MP_BF16, q.w.data, i, (double)random_below(&r, 31) - 15);
        for (int64_t i = 0; i < E * N; i++)
            mp_encode(MP_BF16, bias.data, i, (double)random_below(&r, 31) - 15);
        float weights[SLOTS];
        int64_t out_row[SLOTS], owner[ROWS];
        for (int64_t row = 0; row < ROWS; row++) owner[row] = -1;
        for (int64_t t = 0; t < SLOTS; t++) {
            weights[t] = (float)random_unit(&r);
            out_row[t] = t == 4 ? -1 : ROWS - 1 - t;
            if (out_row[t] >= 0) owner[out_row[t]] = t;
        }
        q.ids[4] = 1; /* the slot whose result has nowhere to go */
        q.a_row[4] = 0;
        q.ids[6] = -1;
        const mp_epilogue epilogue = {.bias = &bias, .weights = weights};
        assert_int_equal(mp_gemm_stage(engines[e], &q.p, &epilogue, out_row, &out, &err), MP_OK);
        const uint16_t *stored = out.data;
        for (int64_t row = 0; row < ROWS; row++) {
            const int64_t t = owner[row];
            for (int64_t n = 0; n < N; n++) {
                uint16_t expected = (uint16_t)((row * N + n) % 2 ? MP_POISON_A >> 16 : MP_POISON_A);
                if (t >= 0 && q.ids[t] < 0) expected = 0;
                if (t >= 0 && q.ids[t] >= 0 && q.a_row[t] >= 0) {
                    double sum = mp_decode(MP_BF16, bias.data, q.ids[t] * N + n);
                    for (int64_t k = 0; k < K; k++)
                        sum += mp_decode(MP_BF16, q.a.data, q.a_row[t] * K + k) *
                               mp_decode(MP_BF16, q.w.data, (q.ids[t] * N + n) * K + k);
                    expected = (uint16_t)mp_encode_code(MP_BF16, sum * (double)weights[t]);
                }
                assert_int_equal(stored[row * N + n], expected);
            }
        }
        int64_t offset;
        assert_true(mp_tensor_guards_intact(&out, &offset));
        mp_tensor_free(&bias);
        mp_tensor_free(&out);
        problem_free(&q);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_compute_the_definition),
        cmocka_unit_test(radii_are_summed_beside_the_values),
        cmocka_unit_test(tasks_cover_every_slot_and_column_once),
        cmocka_unit_test(a_dgemm_is_as_large_as_its_terms_allow),
        cmocka_unit_test(engines_agree_on_every_ci_case),
        cmocka_unit_test(bias_comes_before_the_router_weight),
        cmocka_unit_test(the_stage_stores_each_slot_once_rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
