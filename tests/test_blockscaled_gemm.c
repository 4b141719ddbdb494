/* SPDX-License-Identifier: Apache-2.0 */
/* Block-scaled units as accumulators of a contract: a GEMM has the bits of the definition, no sum is beyond
 * its bound, and a unit that is another one is seen. */
#include "base/bits.h"
#include "moeparity/preset.h"
#include "ref/bounds.h"
#include "ref/contract_words.h"
#include "ref/predict/blockscaled.h"
#include "ref/predict/blockscaled_gemm.h"
#include "tests/exact_sums.h"

#include <stdio.h>

enum { MOST = 384, LEAST_BLOCK = 16 };

typedef struct unit {
    const char *scheme;
    mp_dtype a, w, scale;
    mp_bs_kind kind;
    mp_tc_input x, y;
    int block, terms;
} unit;

static const unit UNITS[] = {
    {"mxfp8", MP_E4M3, MP_E4M3, MP_UE8M0, MP_BS_MXF8F6F4, MP_TC_E4M3, MP_TC_E4M3, 32, 32},
    {NULL, MP_E4M3, MP_E2M1, MP_UE8M0, MP_BS_MXF8F6F4, MP_TC_E4M3, MP_TC_E2M1, 32, 32},
    {NULL, MP_E2M1, MP_E2M1, MP_UE8M0, MP_BS_MXF8F6F4, MP_TC_E2M1, MP_TC_E2M1, 32, 32},
    {NULL, MP_E2M1, MP_E2M1, MP_UE8M0, MP_BS_MXF4, MP_TC_E2M1, MP_TC_E2M1, 32, 64},
    {"nvfp4", MP_E2M1, MP_E2M1, MP_E4M3, MP_BS_NVF4, MP_TC_E2M1, MP_TC_E2M1, 16, 64},
};

static mp_bs_model model_of(const unit *u) {
    mp_bs_model m;
    assert_true(mp_bs_find(120, MP_TC_MMA, u->kind, u->x, u->y, &m));
    return m;
}

/* That of the preset, where a scheme has these formats. */
static mp_gemm_contract contract_of(const unit *u) {
    mp_gemm_contract g = {.accumulator = MP_ACC_BLOCK_SCALED,
                          .group = u->terms,
                          .fraction_bits = u->terms == 32 ? 25 : 35,
                          .zero_exponent = -133,
                          .split_k = 1};
    static const char *const presets[] = {"sm_100-block-scaled", "sm_120-block-scaled"};
    for (size_t i = 0; i < COUNT(presets) && u->scheme; i++) {
        char text[64];
        mp_contract contract;
        mp_error err;
        snprintf(text, sizeof text, "K=128 N=64 quant=%s", u->scheme);
        const mp_case c = case_of(text);
        if (mp_contract_preset(presets[i], &c, &contract, &err)) fail_msg("%s", err.text);
        g.scaling = contract.gate_up.scaling;
        assert_memory_equal(&contract.gate_up, &g, sizeof g);
        assert_memory_equal(&contract.down, &g, sizeof g);
        for (int s = 0; s < MP_STAGE_COUNT; s++)
            assert_int_not_equal(contract.promise[s].bits, MP_BITS_REQUIRED);
    }
    return g;
}

/* Codes and scales of a sum. */
typedef struct operands {
    uint32_t a[MOST], w[MOST];
    uint8_t a_scale[MOST / LEAST_BLOCK], w_scale[MOST / LEAST_BLOCK];
} operands;

typedef enum kind { MODERATE, WIDE, CANCELLING, SMALL, KIND_COUNT } kind;

static uint8_t random_scale(rng *r, mp_dtype scale, kind how) {
    const int most = how == WIDE ? 10 : 2;
    if (scale == MP_UE8M0) return (uint8_t)(127 - most + random_below(r, 2 * most + 1));
    return how == SMALL ? (uint8_t)random_below(r, 12)
                        : (uint8_t)(0x38 + random_below(r, how == WIDE ? 48 : 16));
}

static void draw(rng *r, const unit *u, kind how, int n, operands *o) {
    for (int k = 0; k < n; k++) {
        const int low = how == SMALL  ? -9
                        : how == WIDE ? -6
                                      : 0,
                  high = how == SMALL  ? -4
                         : how == WIDE ? 8
                                       : 3;
        o->a[k] = (uint32_t)mp_encode_code(u->a, random_wide(r, low, high));
        o->w[k] = (uint32_t)mp_encode_code(u->w, random_wide(r, low, high));
        if (how == CANCELLING && k % 2) {
            o->a[k] = o->a[k - 1] ^ (1u << (mp_dtype_bits(u->a) - 1));
            o->w[k] = random_below(r, 8) ? o->w[k - 1] : o->w[k];
        }
    }
    for (int b = 0; b * u->block < n; b++) {
        o->a_scale[b] = random_scale(r, u->scale, how);
        o->w_scale[b] = random_scale(r, u->scale, how);
    }
}

static double number(mp_dtype format, uint32_t code, mp_dtype scale_format, uint8_t scale) {
    return mp_decode_code(format, code) * mp_decode_code(scale_format, scale);
}

static exact_sum exact_of(const unit *u, int n, const operands *o, double *scales) {
    exact_sum s = {0};
    *scales = 0;
    for (int k = 0; k < n; k++) {
        const int b = k / u->block;
        exact_add(&s, number(u->a, o->a[k], u->scale, o->a_scale[b]) *
                          number(u->w, o->w[k], u->scale, o->w_scale[b]));
        if (k % u->block == 0)
            *scales += mp_decode_code(u->scale, o->a_scale[b]) * mp_decode_code(u->scale, o->w_scale[b]);
    }
    return s;
}

static double largest_of(const unit *u, int n, const operands *o) {
    double largest = 0;
    for (int k = 0; k < n; k++)
        largest =
            fmax(largest, fmax(fabs(mp_decode_code(u->a, o->a[k])), fabs(mp_decode_code(u->w, o->w[k]))));
    return largest;
}

static double bound_of(const unit *u, const mp_gemm_contract *g, int n, const operands *o, const exact_sum *s,
                       double scales) {
    const mp_scaled_codes codes = {.a = u->a, .w = u->w, .scale = u->scale, .block = u->block};
    const mp_sum_bound b = mp_block_scaled_bound(g, &codes, n, largest_of(u, n, o));
    return b.rel * about(s->mass) + b.abs + b.per_scale * scales;
}

static float sum_of(const mp_bs_model *m, int n, const operands *o) {
    return mp_float_of_bits(mp_bs_dot(m, n, o->a, o->w, o->a_scale, o->w_scale, 0));
}

static void no_sum_is_beyond_its_bound(void **state) {
    (void)state;
    rng r = {6};
    for (size_t i = 0; i < COUNT(UNITS); i++) {
        const unit *u = &UNITS[i];
        const mp_gemm_contract g = contract_of(u);
        const mp_bs_model m = model_of(u);
        double most = 0;
        for (int run = 0; run < 6000; run++) {
            const int n = u->terms * (1 + (int)random_below(&r, MOST / u->terms));
            operands o;
            double scales;
            draw(&r, u, (kind)(run % KIND_COUNT), n, &o);
            const exact_sum s = exact_of(u, n, &o, &scales);
            const double bound = bound_of(u, &g, n, &o, &s, scales),
                         error = exact_error(&s, sum_of(&m, n, &o));
            if (!(error <= bound)) fail_msg("unit %zu run %d: error %g, bound %g", i, run, error, bound);
            most = fmax(most, error / bound);
        }
        print_message("%s x %s, steps of %d: at most %.3f of the bound\n", mp_dtype_name(u->a),
                      mp_dtype_name(u->w), u->terms, most);
        assert_true(most > 0.002);
    }
}

/* What is cut is all but lost. Term by term: beside a product of 2^16 all others in the step are just below
 * the last bit that is kept. Of sums of 16: the first pair of scales decides what is kept, though its codes
 * are zeros, and the two sums of the other are just below it. A unit that keeps a bit less, or two, is
 * beyond. */
static void cuts_are_reached_and_coarser_ones_are_beyond(void **state) {
    (void)state;
    static const int units[] = {0, 3};
    for (size_t i = 0; i < COUNT(units); i++)
        for (int coarser = 0; coarser <= 1; coarser++) {
            const unit *u = &UNITS[units[i]];
            const bool sums_first = u->terms == 64;
            const mp_gemm_contract g = contract_of(u);
            mp_bs_model m = model_of(u);
            operands o = {.a_scale = {127, 127}, .w_scale = {127, sums_first ? 127 - 39 : 127}};
            double scales, x, y;
            for (int k = 0; k < u->terms; k++) {
                if (sums_first) { /* 15.5 * 2^-39 in each sum of 16, of 2^-35; or four times that */
                    x = k < 32 ? 0 : coarser ? 4 : 1;
                    y = k % 16 ? 1 : 0.5;
                } else { /* 1.75^2 * 2^-11, of 2^(16 - 25); or twice that */
                    x = k ? 1.75 * 0x1p-6 : 256;
                    y = k ? ldexp(1.75, coarser - 5) : 256;
                }
                o.a[k] = (uint32_t)mp_encode_code(u->a, x);
                o.w[k] = (uint32_t)mp_encode_code(u->w, y);
            }
            if (coarser) m.fraction_bits -= sums_first ? 2 : 1;
            const exact_sum s = exact_of(u, u->terms, &o, &scales);
            const double bound = bound_of(u, &g, u->terms, &o, &s, scales),
                         error = exact_error(&s, sum_of(&m, u->terms, &o));
            print_message("steps of %d, F=%d: %.3f of the bound\n", u->terms, m.fraction_bits, error / bound);
            if (coarser)
                assert_true(error > bound);
            else
                assert_true(error <= bound && error > (sums_first ? 0.35 : 0.6) * bound);
        }
}

typedef struct gemm {
    mp_tensor a, w, a_scale, w_scale, given, global, out;
    mp_gemm_problem p;
    int64_t row[5];
    int32_t ids[5];
} gemm;

static void random_codes(rng *r, mp_tensor *t) {
    for (int64_t i = 0; i < mp_tensor_count(t); i++)
        mp_put_code(t->dtype, t->data, i, mp_encode_code(t->dtype, random_wide(r, -4, 4)));
}

static void gemm_make(gemm *g, rng *r, const unit *u, int64_t N, int64_t K) {
    const int64_t blocks = (K + u->block - 1) / u->block;
    *g = (gemm){.a = allocated_tensor(u->a, 5, K, 0),
                .w = allocated_tensor(u->w, 2, N, K),
                .a_scale = allocated_tensor(u->scale, 5, blocks, 0),
                .w_scale = allocated_tensor(u->scale, 2, N, blocks),
                .given = allocated_tensor(MP_FP32, 1, 1, 0),
                .global = allocated_tensor(MP_FP32, 2, 1, 0),
                .out = allocated_tensor(MP_FP32, 5, N, 0)};
    random_codes(r, &g->a);
    random_codes(r, &g->w);
    for (int64_t i = 0; i < mp_tensor_count(&g->a_scale); i++)
        ((uint8_t *)g->a_scale.data)[i] = random_scale(r, u->scale, WIDE);
    for (int64_t i = 0; i < mp_tensor_count(&g->w_scale); i++)
        ((uint8_t *)g->w_scale.data)[i] = random_scale(r, u->scale, WIDE);
    *(float *)g->given.data = 0.3f;
    for (int e = 0; e < 2; e++) ((float *)g->global.data)[e] = 0.7f + (float)e;
    random_order(r, g->row, 5);
    for (int t = 0; t < 5; t++) g->ids[t] = t == 3 ? -1 : t % 2;
    const bool global = u->scale == MP_E4M3;
    g->p = (mp_gemm_problem){.a = {.codes = &g->a,
                                   .scale = &g->a_scale,
                                   .block_rows = 1,
                                   .block_columns = u->block,
                                   .global = global ? &g->given : NULL},
                             .a_row = g->row,
                             .w = {.codes = &g->w,
                                   .scale = &g->w_scale,
                                   .block_rows = 1,
                                   .block_columns = u->block,
                                   .global = global ? &g->global : NULL},
                             .topk_ids = g->ids,
                             .slots = 5};
}

static void gemm_free(gemm *g) {
    mp_tensor *const all[] = {&g->a, &g->w, &g->a_scale, &g->w_scale, &g->given, &g->global, &g->out};
    for (size_t i = 0; i < COUNT(all); i++) mp_tensor_free(all[i]);
}

static void row_of(const mp_tensor *codes, const mp_tensor *scale, int64_t row, uint32_t *code, uint8_t *of) {
    const int64_t K = mp_tensor_row_length(codes), blocks = mp_tensor_row_length(scale);
    memset(code, 0, MOST * sizeof *code);
    memset(of, 0, MOST / LEAST_BLOCK);
    for (int64_t k = 0; k < K; k++) code[k] = (uint32_t)mp_code_at(codes->dtype, codes->data, row * K + k);
    memcpy(of, (const uint8_t *)scale->data + row * blocks, (size_t)blocks);
}

/* Elements under the contract that are other bits than the definition's; sum * (given * global) behind it. */
static int differing(const unit *u, const mp_gemm_contract *c, gemm *g) {
    const mp_bs_model m = model_of(u);
    const int64_t K = mp_tensor_row_length(&g->a), N = g->w.dim[1],
                  whole = (K + u->terms - 1) / u->terms * u->terms;
    int count = 0;
    mp_error err;
    if (mp_block_scaled_gemm(c, &g->p, &(mp_epilogue){0}, NULL, &g->out, &err)) fail_msg("%s", err.text);
    for (int64_t t = 0; t < 5; t++)
        for (int64_t n = 0; n < N; n++) {
            operands o;
            float sum = 0;
            if (t != 3) {
                row_of(&g->a, &g->a_scale, g->row[t], o.a, o.a_scale);
                row_of(&g->w, &g->w_scale, g->ids[t] * N + n, o.w, o.w_scale);
                sum = sum_of(&m, (int)whole, &o);
                if (g->p.w.global)
                    sum *= *(const float *)g->given.data * ((const float *)g->global.data)[g->ids[t]];
            }
            count += mp_bits_of_float(((const float *)g->out.data)[t * N + n]) != mp_bits_of_float(sum);
        }
    return count;
}

/* Two experts, a filtered slot, rows in any order, a tail; and what is another is seen. */
static void a_gemm_has_the_bits_of_the_definition(void **state) {
    (void)state;
    rng r = {7};
    for (size_t i = 0; i < COUNT(UNITS); i++) {
        const unit *u = &UNITS[i];
        mp_gemm_contract c = contract_of(u);
        gemm g;
        c.scaling = MP_SCALING_PRODUCT;
        gemm_make(&g, &r, u, 35, u->terms == 32 ? 330 : 320);
        assert_int_equal(differing(u, &c, &g), 0);
        c.fraction_bits -= u->terms == 32 ? 2 : 14; /* what matters of 35 bits is rare */
        assert_true(differing(u, &c, &g) > 0);
        c = contract_of(u);
        c.scaling = MP_SCALING_A_THEN_W;
        if (g.p.w.global) assert_true(differing(u, &c, &g) > 0);
        gemm_free(&g);
    }
}

static void what_is_not_known_is_refused(void **state) {
    (void)state;
    rng r = {8};
    mp_case c = case_of("K=128 N=64 quant=nvfp4");
    mp_gemm_contract g = contract_of(&UNITS[4]);
    gemm tail;
    mp_error err;
    assert_null(mp_unpredictable_block_scaled(&g, &c, 128));
    assert_non_null(mp_unpredictable_block_scaled(&g, &c, 136));
    gemm_make(&tail, &r, &UNITS[4], 3, 136);
    assert_int_equal(mp_block_scaled_gemm(&g, &tail.p, &(mp_epilogue){0}, NULL, &tail.out, &err),
                     MP_EUNSUPPORTED);
    gemm_free(&tail);
    g.group = 32; /* scales of e4m3 are none of mxf8f6f4 */
    assert_non_null(mp_unpredictable_block_scaled(&g, &c, 128));
    g.group = 48;
    assert_non_null(mp_unpredictable_block_scaled(&g, &c, 128));
    g = contract_of(&UNITS[4]);
    g.scaling = MP_SCALING_ANY;
    assert_non_null(mp_unpredictable_block_scaled(&g, &c, 128));
    g.scaling = MP_SCALING_PRODUCT;
    g.promotion = 64;
    assert_non_null(mp_unpredictable_block_scaled(&g, &c, 128));
    c = case_of("quant=fp8-block");
    g.promotion = 0;
    assert_non_null(mp_unpredictable_block_scaled(&g, &c, 128));
}

/* A contract in words that no unit can keep is bad input. */
static void a_case_without_such_scales_is_refused(void **state) {
    (void)state;
    static const char *const fitting[] = {"quant=mxfp8", "quant=nvfp4", "quant=fp8-block-ue8m0"},
                             *const others[] = {"M=4", "quant=fp8-block", "quant=mxfp4", "quant=int8-block",
                                                "quant=fp8-block-ue8m0 group=16"};
    static const char words[] = "sm_100 gate_up.accumulator=block-scaled gate_up.group=32 "
                                "gate_up.fraction_bits=25";
    mp_contract contract;
    mp_error err;
    for (size_t i = 0; i < COUNT(fitting); i++) {
        const mp_case c = case_of(fitting[i]);
        assert_int_equal(mp_contract_of_words(words, &c, &contract, &err), MP_OK);
    }
    for (size_t i = 0; i < COUNT(others); i++) {
        const mp_case c = case_of(others[i]);
        assert_int_equal(mp_contract_of_words(words, &c, &contract, &err), MP_EINPUT);
        assert_non_null(strstr(err.text, "gate_up.accumulator=block-scaled"));
    }
    const mp_case c = case_of("quant=mxfp8");
    assert_int_equal(mp_contract_of_words("any shrink.accumulator=block-scaled shrink.group=32 "
                                          "shrink.fraction_bits=25",
                                          &c, &contract, &err),
                     MP_EINPUT);
    assert_int_equal(mp_contract_of_words("any gate_up.accumulator=block-scaled", &c, &contract, &err),
                     MP_EINPUT); /* no group */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_sum_is_beyond_its_bound),
        cmocka_unit_test(cuts_are_reached_and_coarser_ones_are_beyond),
        cmocka_unit_test(a_gemm_has_the_bits_of_the_definition),
        cmocka_unit_test(what_is_not_known_is_refused),
        cmocka_unit_test(a_case_without_such_scales_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
