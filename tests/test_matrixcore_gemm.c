/* SPDX-License-Identifier: Apache-2.0 */
/* AMD's matrix cores as accumulators of a contract: a GEMM has the bits of the definition, no sum is beyond
 * its bound, and a unit that is another one is seen. */
#include "base/bits.h"
#include "moeparity/preset.h"
#include "ref/bounds.h"
#include "ref/predict/gemm.h"
#include "ref/predict/matrixcore.h"
#include "tests/exact_sums.h"

#include <stdio.h>

enum { MOST = 400 };

typedef struct unit {
    const char *preset;
    mp_dtype operands;
    mp_mc_architecture architecture;
    mp_mc_input input;
    int k; /* terms of the instruction */
} unit;

static const unit UNITS[] = {
    {"gfx908", MP_BF16, MP_CDNA1, MP_MC_BF16, 8},       {"gfx908", MP_FP16, MP_CDNA1, MP_MC_FP16, 16},
    {"gfx90a", MP_BF16, MP_CDNA2, MP_MC_BF16_1K, 16},   {"gfx90a", MP_FP16, MP_CDNA2, MP_MC_FP16, 16},
    {"gfx942", MP_BF16, MP_CDNA3, MP_MC_BF16, 16},      {"gfx942", MP_FP16, MP_CDNA3, MP_MC_FP16, 16},
    {"gfx942", MP_E4M3, MP_CDNA3, MP_MC_E4M3_FNUZ, 32},
};

static mp_gemm_contract contract_of(const unit *u) {
    mp_case c = case_of(u->operands == MP_FP16   ? "dtype=fp16"
                        : u->operands == MP_E4M3 ? "quant=fp8-channel"
                                                 : "M=4");
    mp_contract contract;
    mp_error err;
    if (mp_contract_preset(u->preset, &c, &contract, &err)) fail_msg("%s", err.text);
    for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_not_equal(contract.promise[s].bits, MP_BITS_REQUIRED);
    contract.gate_up.scaling = MP_SCALING_ANY;
    return contract.gate_up;
}

static mp_mc_model model_of(const unit *u) {
    mp_mc_model m;
    assert_true(mp_mc_find(u->architecture, u->input, u->input, u->k, &m));
    return m;
}

/* What the unit is given for a code: of fp8 fnuz ones, half the number. */
static uint32_t given(const unit *u, uint32_t code) {
    return u->operands == MP_E4M3 && code == 0x80 ? 0 : code;
}

static float by_definition(const unit *u, const mp_mc_model *m, int64_t n, const uint32_t *a,
                           const uint32_t *w) {
    uint32_t x[MOST], y[MOST];
    for (int64_t k = 0; k < n; k++) {
        x[k] = given(u, a[k]);
        y[k] = given(u, w[k]);
    }
    const float sum = mp_float_of_bits(mp_mc_dot(m, n, x, y, 0));
    return u->operands == MP_E4M3 ? sum * 4 : sum;
}

typedef enum kind { MODERATE, WIDE, CANCELLING, SMALL, KIND_COUNT } kind;

/* Codes of numbers whose products are multiples of 2^-90, and sum to less than 2^36. */
static void draw(rng *r, mp_dtype dtype, kind how, int n, uint32_t *a, uint32_t *w) {
    for (int k = 0; k < n; k++) {
        const int low = how == WIDE    ? -12
                        : how == SMALL ? -16
                                       : -2,
                  high = how == WIDE    ? 8
                         : how == SMALL ? -8
                                        : 2;
        a[k] = (uint32_t)mp_encode_code(dtype, random_wide(r, low, high));
        w[k] = (uint32_t)mp_encode_code(dtype, random_wide(r, low, high));
        if (how == CANCELLING && k % 2) {
            a[k] = a[k - 1] ^ (1u << (mp_dtype_bits(dtype) - 1));
            w[k] = w[k - 1];
            if (random_below(r, 8) == 0) w[k] ^= 1;
        }
    }
}

static exact_sum exact_of(mp_dtype dtype, int n, const uint32_t *a, const uint32_t *w) {
    exact_sum s = {0};
    for (int k = 0; k < n; k++) exact_add(&s, mp_decode_code(dtype, a[k]) * mp_decode_code(dtype, w[k]));
    return s;
}

static int subnormals(mp_dtype dtype, int n, const uint32_t *codes) {
    int count = 0;
    for (int k = 0; k < n; k++) {
        const double v = fabs(mp_decode_code(dtype, codes[k]));
        count += v != 0 && v < ldexp(1, mp_dtype_format(dtype)->emin);
    }
    return count;
}

static double largest_of(mp_dtype dtype, int n, const uint32_t *a, const uint32_t *w) {
    double largest = 0;
    for (int k = 0; k < n; k++)
        largest = fmax(largest, fmax(fabs(mp_decode_code(dtype, a[k])), fabs(mp_decode_code(dtype, w[k]))));
    return largest;
}

/* Random sums of all kinds and lengths under each preset. */
static void no_sum_is_beyond_its_bound(void **state) {
    (void)state;
    rng r = {3};
    for (size_t i = 0; i < COUNT(UNITS); i++) {
        const unit *u = &UNITS[i];
        const mp_gemm_contract g = contract_of(u);
        const mp_mc_model m = model_of(u);
        double most = 0;
        for (int run = 0; run < 4000; run++) {
            const int n = 1 + (int)random_below(&r, MOST - 1);
            uint32_t a[MOST], w[MOST];
            draw(&r, u->operands, (kind)(run % KIND_COUNT), n, a, w);
            const exact_sum s = exact_of(u->operands, n, a, w);
            const double largest = largest_of(u->operands, n, a, w);
            const mp_sum_bound b = mp_gemm_bound(&g, u->operands, n, largest);
            const double bound = b.rel * about(s.mass) + b.abs +
                                 mp_flushed_operands(&g, u->operands, subnormals(u->operands, n, a),
                                                     subnormals(u->operands, n, w), largest),
                         error = exact_error(&s, by_definition(u, &m, n, a, w));
            if (!(error <= bound))
                fail_msg("%s %s run %d: error %g, bound %g", u->preset, mp_dtype_name(u->operands), run,
                         error, bound);
            most = fmax(most, error / bound);
        }
        print_message("%s %s: at most %.3f of the bound\n", u->preset, mp_dtype_name(u->operands), most);
        assert_true(most > 0.01);
    }
}

/* Beside one product of 1 all others are just below the last bit that is kept, in the first step; with a unit
 * that keeps a bit less the same data are beyond the bound. */
static void cuts_are_reached_and_coarser_ones_are_beyond(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(UNITS); i++) {
        const unit *u = &UNITS[i];
        const mp_gemm_contract g = contract_of(u);
        mp_mc_model m = model_of(u);
        if (m.method == MP_MC_PAIRWISE || u->operands == MP_E4M3)
            continue; /* fp8 reaches no 2^-25 beside 1 */
        for (int coarser = 0; coarser <= 1; coarser++) {
            uint32_t a[MOST], w[MOST];
            for (int k = 0; k < m.group; k++) { /* 1.75 * 2^-(F+1) */
                a[k] = (uint32_t)mp_encode_code(u->operands, k ? 1.75 * 0x1p-13 : 1);
                w[k] = (uint32_t)mp_encode_code(u->operands, k ? ldexp(1, -12 + coarser) : 1);
            }
            m.fraction_bits = 24 - coarser;
            const exact_sum s = exact_of(u->operands, m.group, a, w);
            const mp_sum_bound b = mp_gemm_bound(&g, u->operands, m.group, 1);
            const double bound = b.rel * about(s.mass) + b.abs,
                         error = exact_error(&s, by_definition(u, &m, m.group, a, w));
            print_message("%s %s, F=%d: %.3f of the bound\n", u->preset, mp_dtype_name(u->operands),
                          m.fraction_bits, error / bound);
            if (coarser)
                assert_true(error > bound);
            else
                assert_true(error <= bound && error > 0.6 * bound);
        }
    }
}

/* 2 * 2^-24 is lost to a pairwise sum of three, as much as two roundings can. */
static void roundings_of_a_tree_are_reached(void **state) {
    (void)state;
    const unit *u = &UNITS[1];
    const mp_gemm_contract g = contract_of(u);
    const mp_mc_model m = model_of(u);
    uint32_t a[8] = {0}, w[8] = {0};
    static const double terms[8] = {1, 0x1p-24, 0x1p-24, 0, 0x1p-24, 0, 0, 0};
    for (int k = 0; k < 8; k++) {
        a[k] = (uint32_t)mp_encode_code(MP_FP16, k ? terms[k] * 0x1p12 : 1);
        w[k] = (uint32_t)mp_encode_code(MP_FP16, k ? 0x1p-12 : 1);
    }
    const exact_sum s = exact_of(MP_FP16, 8, a, w);
    const mp_sum_bound b = mp_gemm_bound(&g, MP_FP16, 8, 1);
    const double bound = b.rel * about(s.mass) + b.abs,
                 error = exact_error(&s, by_definition(u, &m, 8, a, w));
    print_message("a tree: %.3f of the bound\n", error / bound);
    assert_true(error <= bound && error >= 0.7 * bound);
}

typedef struct gemm {
    mp_tensor a, w, out;
    mp_gemm_problem p;
    int64_t row[5];
    int32_t ids[5];
} gemm;

static void gemm_make(gemm *g, rng *r, mp_dtype dtype, int64_t N, int64_t K) {
    *g = (gemm){.a = allocated_tensor(dtype, 5, K, 0),
                .w = allocated_tensor(dtype, 2, N, K),
                .out = allocated_tensor(MP_FP32, 5, N, 0)};
    for (int64_t i = 0; i < mp_tensor_count(&g->a); i++)
        mp_encode(dtype, g->a.data, i, random_wide(r, -8, 4));
    for (int64_t i = 0; i < mp_tensor_count(&g->w); i++)
        mp_encode(dtype, g->w.data, i, random_wide(r, -8, 4));
    random_order(r, g->row, 5);
    for (int t = 0; t < 5; t++) g->ids[t] = t == 3 ? -1 : t % 2;
    g->p = (mp_gemm_problem){
        .a = {.codes = &g->a}, .a_row = g->row, .w = {.codes = &g->w}, .topk_ids = g->ids, .slots = 5};
}

static void gemm_free(gemm *g) {
    mp_tensor_free(&g->a);
    mp_tensor_free(&g->w);
    mp_tensor_free(&g->out);
}

static void codes_of(const mp_tensor *t, int64_t row, int64_t K, uint32_t *codes) {
    for (int64_t k = 0; k < K; k++) codes[k] = (uint32_t)mp_code_at(t->dtype, t->data, row * K + k);
}

/* Elements of the GEMM under the contract that are other bits than the definition's. */
static int differing(const unit *u, const mp_gemm_contract *contract, gemm *g, int64_t N, int64_t K) {
    const mp_mc_model m = model_of(u);
    const int64_t length = contract->promotion ? contract->promotion : K;
    int count = 0;
    mp_error err;
    if (mp_predict_gemm(contract, NULL, &g->p, &(mp_epilogue){0}, NULL, &g->out, &err))
        fail_msg("%s", err.text);
    for (int64_t t = 0; t < 5; t++)
        for (int64_t n = 0; n < N; n++) {
            uint32_t a[MOST], w[MOST];
            float sum = 0;
            codes_of(&g->a, g->row[t], K, a);
            codes_of(&g->w, (t == 3 ? 0 : g->ids[t]) * N + n, K, w);
            for (int64_t k = 0; k < K; k += length)
                sum += by_definition(u, &m, K - k < length ? K - k : length, a + k, w + k);
            if (t == 3) sum = 0;
            count += mp_bits_of_float(((const float *)g->out.data)[t * N + n]) != mp_bits_of_float(sum);
        }
    return count;
}

/* Two experts, a filtered slot, rows in any order, tails of k, parts; and each parameter that is another one
 * is seen. */
static void a_gemm_has_the_bits_of_the_definition(void **state) {
    (void)state;
    enum { N = 35 };
    static const int64_t Ks[] = {1, 7, 64, 203};
    rng r = {4};
    for (size_t i = 0; i < COUNT(UNITS); i++)
        for (size_t j = 0; j < COUNT(Ks); j++) {
            const unit *u = &UNITS[i];
            const int64_t K = Ks[j];
            mp_gemm_contract c = contract_of(u);
            gemm g;
            gemm_make(&g, &r, u->operands, N, K);
            assert_int_equal(differing(u, &c, &g, N, K), 0);
            c.promotion = 32;
            assert_int_equal(differing(u, &c, &g, N, K), 0);
            c.promotion = 0;
            if (K > 64) {
                mp_gemm_contract wrong = c;
                wrong.group = c.group == 2 ? 4 : c.group / 2;
                assert_true(differing(u, &wrong, &g, N, K) > 0);
                wrong = c;
                wrong.fraction_bits = c.fraction_bits - 2;
                if (c.fraction_bits) assert_true(differing(u, &wrong, &g, N, K) > 0);
                wrong = c;
                wrong.accumulator =
                    c.accumulator == MP_ACC_MATRIX_CORE ? MP_ACC_PAIRWISE : MP_ACC_MATRIX_CORE;
                wrong.fraction_bits = 24;
                if (u->operands != MP_E4M3) assert_true(differing(u, &wrong, &g, N, K) > 0);
            }
            gemm_free(&g);
        }
}

static void what_is_not_known_is_refused(void **state) {
    (void)state;
    rng r = {5};
    gemm g;
    mp_error err;
    gemm_make(&g, &r, MP_BF16, 3, 32);
    mp_gemm_contract c = contract_of(&UNITS[6]); /* a unit of fp8 */
    assert_int_equal(mp_predict_gemm(&c, NULL, &g.p, &(mp_epilogue){0}, NULL, &g.out, &err), MP_EUNSUPPORTED);
    assert_non_null(mp_unpredictable_gemm(&c, MP_BF16));
    assert_null(mp_unpredictable_gemm(&c, MP_E4M3));
    c.group = 7;
    assert_non_null(mp_unpredictable_gemm(&c, MP_E4M3));
    c = contract_of(&UNITS[4]);
    c.promotion = c.group + 1;
    assert_non_null(mp_unpredictable_gemm(&c, MP_BF16));
    assert_int_equal(mp_predict_gemm(&c, NULL, &g.p, &(mp_epilogue){0}, NULL, &g.out, &err), MP_EUNSUPPORTED);
    c.promotion = 0;
    c.group = 32;
    assert_non_null(mp_unpredictable_gemm(&c, MP_BF16));
    c.group = 8;
    c.k_order = MP_K_PERMUTED;
    assert_non_null(mp_unpredictable_gemm(&c, MP_BF16));
    gemm_free(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_sum_is_beyond_its_bound),
        cmocka_unit_test(cuts_are_reached_and_coarser_ones_are_beyond),
        cmocka_unit_test(roundings_of_a_tree_are_reached),
        cmocka_unit_test(a_gemm_has_the_bits_of_the_definition),
        cmocka_unit_test(what_is_not_known_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
