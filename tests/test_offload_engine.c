/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of offload/: every format of an operand against the plain loops, all sums of all slots. Built
 * twice: for a GPU, without which it is skipped, and with tests/offload_kernels.c for a device that is not
 * there, whose kernels run on the host. */
#include "kernels/cuda.h"
#include "moeparity/dtype.h"
#include "ref/bounds.h"
#include "tests/offload_support.h"

#include <stdio.h>

/* ---- operands ---- */

typedef struct operand {
    mp_tensor codes, scale, zeros, global;
    mp_operand o;
} operand;

/* Codes, any but NaN and Inf; of few bits less than 2^4 apart, so that sums do not overflow float64. */
static void fill(rng *r, mp_tensor *t) {
    for (int64_t i = 0; i < mp_tensor_count(t); i++) {
        const double wide = random_wide(r, -20, 4);
        mp_encode(t->dtype, t->data, i, mp_dtype_is_integer(t->dtype) ? 64 * wide : wide);
        while (!isfinite(mp_decode_any(t->dtype, t->data, i)))
            mp_put_code(t->dtype, t->data, i, random_bits(r));
    }
}

static operand operand_of(rng *r, mp_dtype dtype, int64_t experts, int64_t rows, int64_t columns) {
    operand x = {.codes = experts ? allocated_tensor(dtype, experts, rows, columns)
                                  : allocated_tensor(dtype, rows, columns, 0)};
    fill(r, &x.codes);
    return x;
}

typedef struct scales {
    mp_dtype dtype;
    int64_t block_rows, block_columns;
    int zero;
    bool zeros, zeros_in_pairs;
    int64_t globals; /* of an expert; 0: none */
    bool alternate, rounds;
    mp_dtype rounded;
} scales;

static int64_t blocks(int64_t length, int64_t block) {
    return (length + block - 1) / block;
}

/* Weights alone: [E, n, k]. */
static void add_scales(rng *r, const scales *s, operand *x) {
    const int64_t E = x->codes.dim[0], rows = blocks(x->codes.dim[1], s->block_rows),
                  columns = blocks(x->codes.dim[2], s->block_columns);
    x->scale = allocated_tensor(s->dtype, E, rows, columns);
    fill(r, &x->scale);
    if (s->zeros) {
        x->zeros = allocated_tensor(MP_U8, E, s->zeros_in_pairs ? (rows + 1) / 2 : rows, columns);
        for (int64_t i = 0; i < mp_tensor_count(&x->zeros); i++)
            ((uint8_t *)x->zeros.data)[i] = (uint8_t)random_bits(r);
    }
    if (s->globals) {
        x->global = allocated_tensor(MP_FP32, E, s->globals, 0);
        fill(r, &x->global);
    }
    x->o = (mp_operand){.scale = &x->scale,
                        .block_rows = s->block_rows,
                        .block_columns = s->block_columns,
                        .zero = s->zero,
                        .zeros = s->zeros ? &x->zeros : NULL,
                        .zeros_in_pairs = s->zeros_in_pairs,
                        .global = s->globals ? &x->global : NULL,
                        .globals_alternate = s->alternate,
                        .rounds = s->rounds,
                        .rounded = s->rounded};
}

static void operand_free(operand *x) {
    mp_tensor_free(&x->codes);
    mp_tensor_free(&x->scale);
    mp_tensor_free(&x->zeros);
    mp_tensor_free(&x->global);
}

/* ---- what an engine makes of a problem ---- */

enum { RESULTS = 5 };
typedef struct sums {
    int64_t N;
    double *of[RESULTS];
    int *visits;
} sums;

static void collect(void *ctx, const mp_gemm_tile *tile) {
    sums *s = ctx;
    const double *from[RESULTS] = {tile->value, tile->mass, tile->sure, tile->det, tile->random};
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t j = 0; j < tile->n; j++) {
            const int64_t at = tile->slot[i] * s->N + tile->n0 + j;
#pragma omp atomic
            s->visits[at]++;
            for (int k = 0; k < RESULTS; k++)
                if (from[k]) s->of[k][at] = from[k][i * tile->n + j];
        }
}

static sums sums_by(const mp_engine *engine, const mp_gemm_problem *p, bool with_mass) {
    mp_error err = {0};
    const int64_t N = p->w.codes->dim[1];
    sums s = {.N = N, .visits = allocated(p->slots * N, sizeof(int))};
    for (int k = 0; k < RESULTS; k++) s.of[k] = allocated(p->slots * N, sizeof(double));
    if (mp_gemm_float64(engine, p, with_mass, collect, &s, &err) != MP_OK) fail_msg("%s", err.text);
    return s;
}

static void sums_free(sums *s) {
    for (int k = 0; k < RESULTS; k++) free(s->of[k]);
    free(s->visits);
}

static void expect_agreement(const char *what, const mp_gemm_problem *p, bool with_mass) {
    sums device = sums_by(mp_offload_engine(offload), p, with_mass),
         plain = sums_by(&mp_engine_plain, p, true);
    const double gamma = 2 * mp_gamma((double)p->w.codes->dim[2] + 3, 0x1p-53) * (1 + 0x1p-20);
    for (int64_t i = 0; i < p->slots * plain.N; i++) {
        assert_int_equal(device.visits[i], plain.visits[i]);
        for (int k = 0; k < RESULTS && plain.visits[i]; k++) {
            if (k == 1 && !with_mass) continue;
            const double d = device.of[k][i], e = plain.of[k][i], bound = gamma * plain.of[k == 0 ? 1 : k][i];
            const bool both_nan = isnan(d) && isnan(e);
            if (!both_nan && d != e && !(fabs(d - e) <= bound))
                fail_msg("%s: slot %lld column %lld result %d: %.17g, plain loops %.17g, bound %.3g", what,
                         (long long)(i / plain.N), (long long)(i % plain.N), k, d, e, bound);
        }
    }
    sums_free(&device);
    sums_free(&plain);
}

/* ---- problems ---- */

typedef struct shape {
    int64_t E, N, K, tokens, topk;
} shape;

typedef struct routed {
    int32_t *ids;
    int64_t *row, slots;
} routed;

/* Some slots are filtered, some have no row, and an expert has none. */
static routed route(rng *r, const shape *s) {
    routed q = {.slots = s->tokens * s->topk};
    q.ids = allocated(q.slots, sizeof *q.ids);
    q.row = allocated(q.slots, sizeof *q.row);
    for (int64_t t = 0; t < q.slots; t++) {
        q.ids[t] = (int32_t)random_below(r, s->E + 1) - 1;
        if (s->E > 2 && q.ids[t] == 1) q.ids[t] = 0;
        q.row[t] = random_below(r, 16) == 0 ? -1 : t / s->topk;
    }
    return q;
}

static void check(const char *what, const shape *s, mp_dtype a_dtype, mp_dtype w_dtype, const scales *scaled,
                  const mp_gemm_radii *radii, uint64_t seed) {
    rng r = {seed};
    operand a = operand_of(&r, a_dtype, 0, s->tokens, s->K), w = operand_of(&r, w_dtype, s->E, s->N, s->K);
    if (scaled) add_scales(&r, scaled, &w);
    routed q = route(&r, s);
    mp_gemm_problem p = {.a = {.codes = &a.codes},
                         .a_row = q.row,
                         .w = w.o,
                         .topk_ids = q.ids,
                         .slots = q.slots,
                         .radii = radii};
    p.w.codes = &w.codes;
    expect_agreement(what, &p, true);
    expect_agreement(what, &p, false);
    operand_free(&a);
    operand_free(&w);
    free(q.ids);
    free(q.row);
}

static const shape odd = {5, 77, 70, 45, 3};

static void every_format_of_codes(void **state) {
    (void)state;
    static const mp_dtype a[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64, MP_E4M3, MP_E5M2, MP_I8},
                          w[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64, MP_E4M3, MP_E5M2,
                                 MP_I8,   MP_U8,   MP_I4,   MP_U4,   MP_E2M1};
    for (size_t i = 0; i < COUNT(a); i++)
        for (size_t k = 0; k < COUNT(w); k++) {
            char what[64];
            snprintf(what, sizeof what, "%s by %s", mp_dtype_name(a[i]), mp_dtype_name(w[k]));
            check(what, &odd, a[i], w[k], NULL, NULL, 11 * i + k + 1);
        }
}

static void scales_zeros_and_globals(void **state) {
    (void)state;
    static const struct {
        mp_dtype codes;
        scales s;
    } rows[] = {{MP_E4M3, {MP_FP32, 128, 128, .rounded = 0}},
                {MP_E4M3, {MP_FP32, 16, 32, .rounded = 0}},
                {MP_E4M3, {MP_FP32, 77, 70, .rounded = 0}},
                {MP_E4M3, {MP_UE8M0, 1, 32, .rounded = 0}},
                {MP_I8, {MP_FP32, 1, 70, .rounded = 0}},
                {MP_I8, {MP_BF16, 1, 32, 0, false, false, 0, false, true, MP_BF16}},
                {MP_U4, {MP_FP16, 1, 32, 8, false, false, 0, false, true, MP_FP16}},
                {MP_U8, {MP_BF16, 1, 16, 128, true, false, 0, false, true, MP_BF16}},
                {MP_U4, {MP_BF16, 1, 16, 8, true, true, 0, false, true, MP_BF16}},
                {MP_E2M1, {MP_E4M3, 1, 16, 0, false, false, 2, false, false, 0}},
                {MP_E2M1, {MP_E4M3, 1, 16, 0, false, false, 2, true, false, 0}},
                {MP_E2M1, {MP_UE8M0, 1, 32, 0, false, false, 1, false, true, MP_FP16}},
                {MP_E2M1, {MP_UE8M0, 1, 32, 0, false, false, 0, false, true, MP_FP32}}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char what[64];
        snprintf(what, sizeof what, "scales %zu, of %s", i, mp_dtype_name(rows[i].codes));
        check(what, &odd, MP_BF16, rows[i].codes, &rows[i].s, NULL, 100 + i);
    }
}

static void radii_beside_the_values(void **state) {
    (void)state;
    rng r = {7};
    mp_tensor part[3];
    for (int k = 0; k < 3; k++) {
        part[k] = allocated_tensor(MP_FP64, odd.tokens, odd.K, 0);
        for (int64_t i = 0; i < mp_tensor_count(&part[k]); i++)
            ((double *)part[k].data)[i] = fabs(random_wide(&r, -30, 3));
    }
    const mp_gemm_radii all = {&part[0], &part[1], &part[2]}, sure = {.sure = &part[0]},
                        det = {.sure = &part[0], .det = &part[1]},
                        random = {.sure = &part[0], .random = &part[2]};
    check("radii", &odd, MP_FP64, MP_BF16, NULL, &all, 201);
    check("sure and det", &odd, MP_FP64, MP_BF16, NULL, &det, 203);
    check("sure and random", &odd, MP_FP64, MP_BF16, NULL, &random, 204);
    check("sure alone", &odd, MP_BF16, MP_E4M3, NULL, &sure, 202);
    for (int k = 0; k < 3; k++) mp_tensor_free(&part[k]);
}

static void every_shape(void **state) {
    (void)state;
    static const shape shapes[] = {{1, 1, 1, 1, 1},      {8, 1, 300, 7, 2},    {3, 64, 16, 64, 1},
                                   {3, 65, 17, 65, 2},   {40, 130, 48, 3, 8},  {2, 500, 129, 300, 2},
                                   {4, 192, 1024, 9, 4}, {130, 32, 32, 200, 6}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        char what[64];
        snprintf(what, sizeof what, "shape %zu", i);
        check(what, &shapes[i], MP_BF16, MP_BF16, NULL, NULL, 300 + i);
    }
}

/* Inf and NaN come where the plain loops have them. */
static void special_values(void **state) {
    (void)state;
    rng r = {9};
    const shape s = {2, 40, 32, 20, 2};
    operand a = operand_of(&r, MP_BF16, 0, s.tokens, s.K), w = operand_of(&r, MP_BF16, s.E, s.N, s.K);
    uint16_t *x = a.codes.data, *y = w.codes.data;
    x[3] = 0x7F80;
    x[40] = 0xFF80;
    x[70] = 0x7FC0;
    x[100] = 0x0001;
    y[5] = 0x7F80;
    y[33] = 0x8000;
    y[70] = 0x0001;
    routed q = route(&r, &s);
    const mp_gemm_problem p = {.a = {.codes = &a.codes},
                               .a_row = q.row,
                               .w = {.codes = &w.codes},
                               .topk_ids = q.ids,
                               .slots = q.slots};
    expect_agreement("special values", &p, true);
    operand_free(&a);
    operand_free(&w);
    free(q.ids);
    free(q.row);
}

/* The same in little memory: many pieces, columns in parts. */
static void in_little_memory(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *usual = offload;
    mp_cuda *cuda;
    size_t free_bytes, reserve_bytes;
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    assert_int_equal(mp_cuda_memory(cuda, &free_bytes, &reserve_bytes, &err), MP_OK);
    mp_cuda_close(cuda);
    const int share = (int)((free_bytes - reserve_bytes) / ((size_t)20 << 20));
    if (mp_offload_open(share, &offload, &err) != MP_OK) fail_msg("%s", err.text);
    const shape wide = {3, 1500, 700, 150, 2};
    check("in pieces", &wide, MP_BF16, MP_BF16, NULL, NULL, 401);
    assert_null(strstr(mp_offload_engine(offload)->name(mp_offload_engine(offload)), "too small"));
    mp_offload_close(offload);
    offload = usual;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_of_codes),   cmocka_unit_test(scales_zeros_and_globals),
        cmocka_unit_test(radii_beside_the_values), cmocka_unit_test(every_shape),
        cmocka_unit_test(special_values),          cmocka_unit_test(in_little_memory)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
