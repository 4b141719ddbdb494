/* SPDX-License-Identifier: Apache-2.0 */
/* cases/fill.c, inputs.c: the same bits everywhere, and each data family has the property it exists for.
 * Longer than most: a test a family. */
#include "moeparity/inputs.h"

#include "base/maker.h"
#include "cases/deferred.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef struct fixture {
    mp_case c;
    mp_inputs in;
} fixture;

static fixture made(const char *text) {
    mp_error err;
    fixture f = {.c = mp_case_default()};
    if (mp_case_parse(&f.c, text, &err) || mp_inputs_create(&f.c, &f.in, &err))
        fail_msg("'%s': %s", text, err.text);
    return f;
}

static double value(const fixture *f, mp_tensor_id which, int64_t index) {
    return mp_decode(f->in.t[which].dtype, f->in.t[which].data, index);
}

static const int32_t *ids_of(const fixture *f) {
    return f->in.t[MP_TOPK_IDS].data;
}

/* ---- the same bits ---- */

/* Every sum there is, rounded by integers alone as a device rounds it, far above and below the format's range
 * too. */
static void devices_round_as_the_cpu_does(void **unused) {
    (void)unused;
    static const struct {
        mp_dtype dtype;
        mp_normal_kind kind;
        int below, above; /* of exponents */
    } kinds[] = {{MP_BF16, MP_NORMAL_FLOAT, -156, 115},  {MP_FP16, MP_NORMAL_FLOAT, -44, 4},
                 {MP_E4M3, MP_NORMAL_FLOAT, -36, 4},     {MP_E5M2, MP_NORMAL_FLOAT, -44, 4},
                 {MP_E2M1, MP_NORMAL_SATURATED, -30, 4}, {MP_I8, MP_NORMAL_SIGNED, -30, 4}};
    for (size_t d = 0; d < COUNT(kinds); d++) {
        const mp_dtype dtype = kinds[d].dtype;
        const mp_format *f = mp_dtype_format(dtype);
        mp_normal n = {.kind = kinds[d].kind,
                       .bits = f->bits,
                       .precision = f->precision,
                       .emin = f->emin,
                       .largest = (unsigned)mp_encode_code(dtype, f->max_finite)};
        const int below = kinds[d].below, above = kinds[d].above;
        for (n.exponent = below; n.exponent <= above; n.exponent += n.exponent < below + 40 ? 1 : 7)
            for (int sum = -MP_CENTRED_MOST; sum <= MP_CENTRED_MOST; sum++) {
                const unsigned code = mp_normal_code_of(&n, sum),
                               expected = (unsigned)mp_encode_code(dtype, ldexp(sum, n.exponent));
                if (code != expected)
                    fail_msg("%s: %d * 2^%d is %04X, expected %04X", f->name, sum, n.exponent, code,
                             expected);
            }
    }
}

/* Weights that are made when somebody asks for them are the same, expert by expert, and so are those that a
 * device makes by counting; others are not deferred. */
static void deferred_weights_are_the_same(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=2 E=5 K=72 N=40 seed=3",
                                        "M=2 E=5 K=72 N=40 dtype=fp16 data=overflow gated=0",
                                        "M=2 E=5 K=72 N=40 data=special bias=1",
                                        "M=2 E=5 K=2064 N=40 data=limits interleaved=1",
                                        "M=2 E=5 K=256 N=128 quant=fp8-block",
                                        "M=2 E=5 K=200 N=40 quant=fp8-channel data=limits",
                                        "M=2 E=5 K=200 N=40 quant=int8-channel data=special",
                                        "M=2 E=5 K=200 N=40 quant=int8-w8a16 seed=7",
                                        "M=2 E=5 K=192 N=64 quant=nvfp4",
                                        "M=2 E=5 K=192 N=64 quant=mxfp4 gated=0",
                                        "M=2 E=5 K=8448 N=64 quant=int4-w4a16",
                                        "M=2 E=5 K=256 N=128 quant=int4-w4a16-zp data=limits",
                                        "M=2 E=5 K=72 N=40 data=wide",
                                        "M=2 E=5 K=72 N=40 data=unused",
                                        "M=2 E=5 K=72 N=40 dtype=fp32",
                                        "M=2 E=5 K=256 N=128 quant=fp8-block data=codes",
                                        "M=2 E=5 K=256 N=128 quant=int8-channel data=integer"};
    enum { DEFERRED = 12 };
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        mp_inputs later;
        mp_error err;
        assert_int_equal(mp_inputs_create_deferring(&f.c, 1, &later, &err), MP_OK);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor *now = &f.in.t[id], *t = &later.t[id];
            const mp_normal *normal = mp_deferred_normal(t);
            assert_int_equal(normal != NULL, i < DEFERRED && (id == MP_W1 || id == MP_W2));
            if (!now->data) continue;
            if (!normal) {
                assert_memory_equal(t->data, now->data, mp_tensor_bytes(now));
                continue;
            }
            for (int64_t k = 0; k < mp_tensor_count(now); k++)
                assert_int_equal(mp_normal_code(normal, (uint64_t)k), mp_code_at(now->dtype, now->data, k));
            const size_t expert = mp_tensor_bytes(now) / 5;
            const bool some[5] = {false, true, false, true, false};
            mp_tensor_make(t, some);
            for (size_t e = 1; e < 5; e += 2)
                assert_memory_equal((char *)t->data + e * expert, (char *)now->data + e * expert, expert);
            ((char *)t->data)[expert] ^= 1; /* it is not made again */
            mp_tensor_make(t, NULL);
            assert_int_equal(((char *)t->data)[expert] ^ ((char *)now->data)[expert], 1);
            ((char *)t->data)[expert] ^= 1;
            assert_memory_equal(t->data, now->data, mp_tensor_bytes(now));
            int64_t offset;
            assert_true(mp_tensor_guards_intact(t, &offset));
            double most = 0;
            for (int64_t k = 0; k < mp_tensor_count(now); k++)
                if (isfinite(mp_decode(now->dtype, now->data, k)))
                    most = fmax(most, fabs(mp_decode(now->dtype, now->data, k)));
            const double possible = t->maker->largest(t->maker, NULL);
            assert_true(most <= possible && most > possible / 2);
        }
        assert_true(mp_inputs_digest(&later) == mp_inputs_digest(&f.in));
        mp_inputs_destroy(&later);
        mp_inputs_destroy(&f.in);
    }
}

/* And so are the activations of another batch, where no row of them is made otherwise than the others. */
static void deferred_activations_are_the_same(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        mp_tensor_id deferred; /* or none */
    } cases[] = {{"M=37 K=72 N=40", MP_X},
                 {"M=37 K=72 N=40 routing=empty filter=0.5 seed=2", MP_X},
                 {"M=37 N=40 scope=act", MP_CACHE1},
                 {"M=37 N=40 scope=act dtype=fp16 filter=0.5", MP_CACHE1},
                 {"M=37 K=72 N=40 scope=down", MP_CACHE2},
                 {"M=37 K=72 scope=combine filter=0.5", MP_CACHE3}, /* the other batch filters nothing */
                 {"M=37 K=72 scope=combine ep_size=2", MP_TENSOR_COUNT},
                 {"M=37 K=72 N=40 data=special", MP_TENSOR_COUNT},
                 {"M=37 N=40 data=limits scope=act", MP_TENSOR_COUNT},
                 {"M=37 K=72 N=40 dtype=fp32", MP_TENSOR_COUNT}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f = made(cases[i].text);
        mp_inputs now, later;
        mp_error err;
        int count = 0;
        assert_int_equal(mp_inputs_other(&f.c, &f.in, SIZE_MAX, &now, &err), MP_OK);
        assert_int_equal(mp_inputs_other(&f.c, &f.in, 1, &later, &err), MP_OK);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor *t = &later.t[id];
            const mp_normal *normal = mp_deferred_normal(t);
            count += normal != NULL;
            if (normal && id != (int)cases[i].deferred)
                fail_msg("%s: %s", cases[i].text, mp_tensor_name((mp_tensor_id)id));
            for (int64_t k = 0; normal && k < mp_tensor_count(t); k++)
                assert_int_equal(mp_normal_code(normal, (uint64_t)k),
                                 mp_code_at(t->dtype, now.t[id].data, k));
            mp_tensor_make(t, NULL);
            if (t->data) assert_memory_equal(t->data, now.t[id].data, mp_tensor_bytes(t));
        }
        if (count != (cases[i].deferred != MP_TENSOR_COUNT)) fail_msg("%s", cases[i].text);
        mp_inputs_destroy(&later);
        mp_inputs_destroy(&now);
        mp_inputs_destroy(&f.in);
    }
}

/* What stands for the digest of deferred weights differs where the weights do. */
static void deferred_weights_are_told_apart(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=2 E=5 K=72 N=40",
                                        "M=2 E=5 K=72 N=40 seed=1",
                                        "M=2 E=5 K=80 N=40",
                                        "M=2 E=5 K=72 N=48",
                                        "M=2 E=7 K=72 N=40",
                                        "M=2 E=5 K=72 N=40 dtype=fp16",
                                        "M=2 E=5 K=72 N=40 dtype=fp16 data=overflow",
                                        "M=2 E=5 K=256 N=64 quant=int4-w4a16",
                                        "M=2 E=5 K=128 N=128 quant=int4-w4a16"};
    uint64_t seen[2 * COUNT(texts)];
    size_t count = 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = {.c = mp_case_default()};
        mp_error err;
        assert_int_equal(mp_case_parse(&f.c, texts[i], &err), MP_OK);
        assert_int_equal(mp_inputs_create_deferring(&f.c, 1, &f.in, &err), MP_OK);
        seen[count++] = mp_inputs_sealed(&f.in, MP_W1);
        seen[count++] = mp_inputs_sealed(&f.in, MP_W2);
        mp_inputs_seal(&f.in);
        assert_true(mp_inputs_sealed(&f.in, MP_W1) == seen[count - 2]);
        assert_true(mp_inputs_unchanged(&f.in));
        mp_inputs_destroy(&f.in);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (seen[i] == seen[k] || !seen[i]) fail_msg("%zu and %zu", i, k);
}

/* Every stored golden depends on them. When all have to change, MP_FILL_VERSION is raised; when some have,
 * goldens of such cases fail by the digests of their inputs, until they are recorded anew. */
static void digests_are_pinned(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        uint64_t digest;
    } pinned[] = {
        {"M=9 K=40 N=24 bias=1 data=normal", UINT64_C(0xA1DC3853C697AED4)},
        {"M=9 K=40 N=24 bias=1 data=integer", UINT64_C(0x458B1EC8C3EECA53)},
        {"M=9 K=40 N=24 bias=1 data=wide", UINT64_C(0x16DF6871539FBA77)},
        {"M=9 K=40 N=24 bias=1 data=onehot", UINT64_C(0x322FAB92D06F25EB)},
        {"M=9 K=40 N=24 bias=1 data=special", UINT64_C(0xB52B5885C80DBBD7)},
        {"M=9 K=40 N=24 bias=1 data=limits", UINT64_C(0x0CEF16B548A4533E)},
        {"M=9 K=40 N=24 bias=1 filter=0.5 routing=empty data=unused", UINT64_C(0x8E57DEA0F7CD8E1E)},
        {"M=9 K=40 N=24 dtype=fp16 data=overflow", UINT64_C(0x9A12F3737AF6380E)},
        {"M=9 topk=5 K=40 scope=combine dtype=fp16 data=overflow", UINT64_C(0xA935A22CC8D9B6B3)},
        {"M=9 K=40 N=24 dtype=fp16 data=wide", UINT64_C(0x0331A4521C8AFAC2)},
        {"M=9 K=40 N=24 dtype=fp16 data=special", UINT64_C(0x63E061807071678B)},
        {"M=9 K=40 N=24 dtype=fp32 data=wide", UINT64_C(0x5039B5FA63B99580)},
        {"M=9 K=40 N=24 dtype=fp32 data=special", UINT64_C(0xD1F738C937D92D37)},
        {"M=9 topk=5 K=40 scope=combine dtype=fp64", UINT64_C(0x6A4163BDCC5FBED0)},
        {"M=5 topk=1 N=14001 scope=act data=exhaustive", UINT64_C(0x3AB185AB65BA2DCB)},
        {"M=5 topk=1 N=14001 scope=act data=exhaustive gated=0", UINT64_C(0xCEE5ED6281F3F7E7)},
        {"M=5 topk=1 N=14001 scope=act data=exhaustive interleaved=1 dtype=fp16 seed=1",
         UINT64_C(0xA6F161BCE7BF6B24)},
        {"M=9 K=40 N=24 quant=nvfp4 data=codes", UINT64_C(0x76CD2158240E9BE1)},
        {"M=9 K=40 N=24 quant=int8-w8a16-group dtype=fp16 data=codes", UINT64_C(0x11BC94AD84F1645A)},
        {"M=9 K=40 N=24 quant=mxfp4 data=codes", UINT64_C(0x98346AE4097A70A1)},
        {"M=9 K=64 N=32 quant=mxfp8 scope=gate_up data=codes", UINT64_C(0xE981153BE0237228)},
        {"M=9 K=64 N=32 quant=nvfp4 scope=gate_up", UINT64_C(0x70015F4547280788)},
        {"M=9 K=64 N=32 quant=nvfp4 scope=down", UINT64_C(0xAECCBCCF6B3B3CBA)},
        {"M=9 K=40 N=24 lora_adapters=3 lora_map=segments", UINT64_C(0x71E5FAD020C022CA)},
        {"M=99 E=60 topk=4 scope=align routing=uniform", UINT64_C(0x89D6754D025774E4)},
        {"M=99 E=60 topk=4 scope=align routing=zipf", UINT64_C(0xD222DD780991476B)},
        {"M=99 E=60 topk=4 scope=align routing=hot", UINT64_C(0x64465A98ECB79018)},
        {"M=99 E=60 topk=4 scope=align routing=empty", UINT64_C(0xC425102DDA48E2E4)},
        {"M=99 E=60 topk=4 scope=align routing=first", UINT64_C(0x98B942BFD7E14BBA)},
        {"M=99 E=60 topk=4 scope=align routing=last", UINT64_C(0xBB641F96E0A1E88A)},
        {"M=99 E=60 topk=4 scope=align routing=duplicates", UINT64_C(0xC5DDFE26BD7CAD9B)},
        {"M=99 E=60 topk=4 scope=align routing=padded", UINT64_C(0x8C32CA86229EDD2E)},
        {"M=99 E=60 topk=4 scope=align filter=0.3", UINT64_C(0xD4536A8C652461A7)},
        {"M=99 E=60 topk=4 scope=align ep_size=3 ep_rank=1", UINT64_C(0xCDC1482457CD4E59)},
    };
    bool equal = MP_FILL_VERSION == 1;
    for (size_t i = 0; i < COUNT(pinned); i++) {
        fixture f = made(pinned[i].text);
        const uint64_t digest = mp_inputs_digest(&f.in);
        if (digest != pinned[i].digest) {
            print_error("{\"%s\", UINT64_C(0x%016llX)},\n", pinned[i].text, (unsigned long long)digest);
            equal = false;
        }
        mp_inputs_destroy(&f.in);
    }
    assert_true(equal);
}

static void threads_do_not_matter(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=37 bias=1",
                                        "M=37 data=wide dtype=fp16",
                                        "M=37 data=special routing=zipf",
                                        "M=1003 scope=align routing=hot filter=0.5",
                                        "M=37 scope=combine dtype=fp64",
                                        "M=101 data=integer routing=duplicates topk=4"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        uint64_t digest[3];
        for (int t = 0; t < 3; t++) {
            omp_set_num_threads(t == 0 ? 1 : t == 1 ? 2 : 7);
            fixture f = made(texts[i]);
            digest[t] = mp_inputs_digest(&f.in);
            mp_inputs_destroy(&f.in);
        }
        assert_true(digest[0] == digest[1] && digest[0] == digest[2]);
    }
    omp_set_num_threads(2);
}

/* A token's inputs do not depend on how many tokens there are, nor its ids on their number. */
static void a_larger_batch_begins_with_the_smaller(void **unused) {
    (void)unused;
    fixture a = made("M=5 K=70 N=30"), b = made("M=9 K=70 N=30");
    for (int t = 0; t < MP_TENSOR_COUNT; t++) {
        if (a.in.t[t].data) assert_memory_equal(a.in.t[t].data, b.in.t[t].data, mp_tensor_bytes(&a.in.t[t]));
    }
    mp_inputs_destroy(&a.in);
    mp_inputs_destroy(&b.in);
}

static void seeds_and_tensors_differ(void **unused) {
    (void)unused;
    fixture a = made("M=64 K=64 N=64"), b = made("M=64 K=64 N=64 seed=1");
    int same = 0;
    for (int64_t i = 0; i < 64 * 64; i++) same += value(&a, MP_X, i) == value(&b, MP_X, i);
    assert_true(same < 100);
    for (int lag = -2; lag <= 2; lag++) { /* streams are not shifted copies of each other */
        double product = 0;
        for (int64_t i = 2; i < 64 * 64 - 2; i++)
            product += value(&a, MP_X, i) * value(&b, MP_X, i + lag) +
                       value(&a, MP_X, i) * value(&a, MP_W1, i + lag);
        assert_true(fabs(product) / 4096 <
                    0.15); /* six standard deviations: sqrt(2)*1.33/sqrt(4096)... of products near 1 */
    }
    mp_inputs_destroy(&a.in);
    mp_inputs_destroy(&b.in);
}

#define IN(name) MP_IN_SET(MP_##name)

static void plan_is_what_create_makes(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        mp_tensor_set present;
    } p[] = {
        {"M=3 K=5 N=7", IN(X) | IN(W1) | IN(W2) | IN(TOPK_IDS) | IN(TOPK_WEIGHTS)},
        {"M=3 K=5 N=7 bias=1 gated=0",
         IN(X) | IN(W1) | IN(W2) | IN(B1) | IN(B2) | IN(TOPK_IDS) | IN(TOPK_WEIGHTS)},
        {"M=3 scope=align", IN(TOPK_IDS)},
        {"M=3 K=5 N=7 scope=gate_up", IN(X) | IN(W1) | IN(TOPK_IDS) | IN(TOPK_WEIGHTS)},
        {"M=3 N=7 scope=act", IN(CACHE1) | IN(TOPK_IDS)},
        {"M=3 K=5 N=7 bias=1 scope=down", IN(CACHE2) | IN(W2) | IN(B2) | IN(TOPK_IDS) | IN(TOPK_WEIGHTS)},
        {"M=3 K=5 scope=combine", IN(CACHE3) | IN(TOPK_IDS)}};
    for (size_t i = 0; i < COUNT(p); i++) {
        mp_inputs plan;
        fixture f = made(p[i].text);
        mp_inputs_plan(&f.c, &plan);
        for (int t = 0; t < MP_TENSOR_COUNT; t++) {
            assert_null(plan.t[t].data);
            assert_int_equal(f.in.t[t].data != NULL, (p[i].present & MP_IN_SET(t)) != 0);
            assert_memory_equal(plan.t[t].dim, f.in.t[t].dim, sizeof plan.t[t].dim);
            if (p[i].present & MP_IN_SET(t)) assert_true(mp_tensor_guards_intact(&f.in.t[t], &(int64_t){0}));
        }
        mp_inputs_destroy(&f.in);
    }
    fixture f = made("M=3 E=4 K=5 N=7 bias=1 topk=2");
    assert_int_equal(mp_tensor_count(&f.in.t[MP_W1]), 4 * 14 * 5);
    assert_int_equal(mp_tensor_count(&f.in.t[MP_W2]), 4 * 5 * 7);
    assert_int_equal(mp_tensor_count(&f.in.t[MP_B1]), 4 * 14);
    assert_int_equal(mp_tensor_count(&f.in.t[MP_B2]), 4 * 5);
    mp_inputs_destroy(&f.in);
}

/* ---- data families ---- */

/* Root mean square of the final float64 output of a silu case, straight from the formulas. */
static double output_rms(const char *text) {
    fixture f = made(text);
    const int64_t K = f.c.K, N = f.c.N, rows = mp_case_w1_rows(&f.c);
    double *out = calloc((size_t)(f.c.M * K), sizeof *out), *h = malloc((size_t)N * sizeof *h), squares = 0;
    for (int64_t slot = 0; slot < mp_case_slots(&f.c); slot++) {
        const int64_t m = slot / f.c.topk, e = ids_of(&f)[slot];
        for (int64_t n = 0; n < N; n++) {
            double gate = 0, up = f.c.gated ? 0 : 1;
            for (int64_t k = 0; k < K; k++) {
                gate += value(&f, MP_X, m * K + k) * value(&f, MP_W1, (e * rows + n) * K + k);
                if (f.c.gated)
                    up += value(&f, MP_X, m * K + k) * value(&f, MP_W1, (e * rows + N + n) * K + k);
            }
            h[n] = gate / (1 + exp(-gate)) * up;
        }
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t n = 0; n < N; n++) sum += h[n] * value(&f, MP_W2, (e * K + k) * N + n);
            out[m * K + k] += value(&f, MP_TOPK_WEIGHTS, slot) * sum;
        }
    }
    for (int64_t i = 0; i < f.c.M * K; i++) squares += out[i] * out[i];
    const double rms = sqrt(squares / (double)(f.c.M * K));
    free(out);
    free(h);
    mp_inputs_destroy(&f.in);
    return rms;
}

static void outputs_are_near_one(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=8 K=512 N=256",           "M=8 K=96 N=72 topk=1",
                                        "M=8 K=33 N=17 topk=4",      "M=8 K=64 N=700 topk=8",
                                        "M=8 K=700 N=64 topk=1",     "M=8 K=128 N=128 gated=0",
                                        "M=4 K=1030 N=130 topk=6",   "M=32 K=7 N=5",
                                        "M=8 K=256 N=64 dtype=fp16", "M=8 K=100 N=52 dtype=fp32",
                                        "M=8 K=128 N=64 data=wide",  "M=8 K=128 N=64 data=wide dtype=fp16"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        const double rms = output_rms(texts[i]);
        if (!(rms > 0.3 && rms < 3)) fail_msg("'%s' has an output rms of %g", texts[i], rms);
    }
}

static void normal_has_its_moments(void **unused) {
    (void)unused;
    static const char *const dtypes[] = {"bf16", "fp16", "fp32", "fp64"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char text[128];
        snprintf(text, sizeof text, "M=200 topk=1 K=500 scope=combine dtype=%s", dtypes[d]);
        fixture f = made(text);
        double sum = 0, squares = 0, fourth = 0;
        const int64_t n = 200 * 500;
        for (int64_t i = 0; i < n; i++) {
            const double v = value(&f, MP_CACHE3, i) / sqrt(4.0 / 3);
            sum += v;
            squares += v * v;
            fourth += v * v * v * v;
        }
        assert_true(fabs(sum / (double)n) < 0.02);
        assert_true(fabs(squares / (double)n - 1) < 0.02);
        assert_true(fabs(fourth / (double)n - 2.7) < 0.08); /* Irwin-Hall of four: kurtosis 3 - 6/(5*4) */
        mp_inputs_destroy(&f.in);
    }
}

/* Sums of float32 and float64 data must be inexact in a format that is too narrow. */
static void wide_types_use_their_bits(void **unused) {
    (void)unused;
    fixture f = made("M=20 topk=1 K=50 scope=combine dtype=fp64");
    int narrow = 0;
    for (int64_t i = 0; i < 1000; i++)
        narrow += (double)(float)value(&f, MP_CACHE3, i) == value(&f, MP_CACHE3, i);
    assert_true(narrow < 10);
    mp_inputs_destroy(&f.in);
    f = made("M=20 topk=1 K=50 dtype=fp32");
    narrow = 0;
    for (int64_t i = 0; i < 1000; i++) narrow += fmod(value(&f, MP_X, i) * 0x1p17, 1) == 0;
    assert_true(narrow < 100);
    mp_inputs_destroy(&f.in);
}

static void integers_stay_exact(void **unused) {
    (void)unused;
    fixture f = made("M=16 K=1000 N=300 data=integer act=relu2 gated=0 bias=1 topk=3");
    for (int64_t m = 0; m < 16; m++) {
        int nonzero = 0;
        for (int64_t k = 0; k < 1000; k++) {
            const double v = value(&f, MP_X, m * 1000 + k);
            assert_true(v == floor(v) && fabs(v) <= 2);
            nonzero += v != 0;
        }
        assert_true(nonzero >= 15 && nonzero <= 16);
    }
    double largest = 0; /* every partial sum of every output element is at most the sum of magnitudes */
    for (int64_t slot = 0; slot < 16 * 3; slot++) {
        double h[300];
        const int64_t e = ids_of(&f)[slot];
        for (int64_t n = 0; n < 300; n++) {
            double mass = fabs(value(&f, MP_B1, e * 300 + n)), sum = value(&f, MP_B1, e * 300 + n);
            for (int64_t k = 0; k < 1000; k++) {
                const double term =
                    value(&f, MP_X, slot / 3 * 1000 + k) * value(&f, MP_W1, (e * 300 + n) * 1000 + k);
                mass += fabs(term);
                sum += term;
            }
            assert_true(mass < 256); /* bf16 holds every integer up to 256 */
            h[n] = sum > 0 ? mp_round_to(MP_BF16, sum * sum) : 0;
        }
        for (int64_t k = 0; k < 1000; k++) {
            double mass = fabs(value(&f, MP_B2, e * 1000 + k));
            int nonzero = 0;
            for (int64_t n = 0; n < 300; n++) {
                const double w = value(&f, MP_W2, (e * 1000 + k) * 300 + n);
                assert_true(w == floor(w) && fabs(w) <= 2);
                mass += fabs(h[n] * w);
                nonzero += w != 0;
            }
            assert_true(nonzero > 50 && nonzero <= 64);
            if (mass > largest) largest = mass;
        }
        const double weight = value(&f, MP_TOPK_WEIGHTS, slot);
        assert_true(weight == 1 || weight == 0.5 || weight == 0.25 || weight == 0.125);
    }
    assert_true(largest > 100 && largest < 0x1p24);
    mp_inputs_destroy(&f.in);
}

static void onehot_selects(void **unused) {
    (void)unused;
    fixture f = made("M=40 E=4 K=60 N=30 data=onehot");
    bool seen[60] = {false};
    int places = 0;
    for (int64_t row = 0; row < 40 + 4 * 60; row++) {
        const bool of_x = row < 40;
        const int64_t length = of_x ? 60 : 30, first = of_x ? row * 60 : (row - 40) * 30;
        int ones = 0;
        for (int64_t i = 0; i < length; i++) {
            const double v = value(&f, of_x ? MP_X : MP_W2, first + i);
            assert_true(v == 0 || v == 1);
            ones += v == 1;
            if (of_x && v == 1) places += !seen[i], seen[i] = true;
        }
        assert_int_equal(ones, 1);
    }
    assert_true(places > 20);
    mp_inputs_destroy(&f.in);
}

static void wide_spreads_and_cancels(void **unused) {
    (void)unused;
    fixture f = made("M=50 K=400 N=20 data=wide dtype=fp32");
    double least = INFINITY, most = 0;
    for (int64_t i = 0; i < 50 * 400; i++) {
        const double v = fabs(value(&f, MP_X, i));
        least = fmin(least, v);
        most = fmax(most, v);
    }
    assert_true(least >= 0x1p-12 && least < 0x1p-11 && most > 0x1p5 && most < 0x1p6);
    for (int64_t k = 0; k < 400; k += 4) {
        for (int64_t m = 0; m < 50; m++) {
            const double a = value(&f, MP_X, m * 400 + k), b = value(&f, MP_X, m * 400 + k + 1);
            assert_true(a + b != 0 && fabs(a + b) <= fabs(a) / 64);
        }
        assert_true(value(&f, MP_W1, k) == value(&f, MP_W1, k + 1));
    }
    mp_inputs_destroy(&f.in);
}

static void special_rows(void **unused) {
    (void)unused;
    static const char *const dtypes[] = {"bf16", "fp16", "fp32"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char text[128];
        snprintf(text, sizeof text, "M=400 K=40 N=8 data=special dtype=%s", dtypes[d]);
        fixture f = made(text);
        const mp_format *format = mp_dtype_format(f.c.dtype);
        int special = 0;
        for (int64_t m = 0; m < 400; m++) {
            int zero = 0, subnormal = 0, inf = 0, nan = 0;
            for (int64_t k = 0; k < 40; k++) {
                const double v = value(&f, MP_X, m * 40 + k);
                zero += v == 0;
                subnormal += v != 0 && fabs(v) < ldexp(1, format->emin);
                inf += isinf(v) != 0;
                nan += isnan(v) != 0;
            }
            assert_true(inf + nan <= 1);
            const bool is[4] = {zero == 40, subnormal == 40, inf == 1, nan == 1};
            if (m < 4) assert_true(is[m]);
            special += is[0] || is[1] || is[2] || is[3];
        }
        assert_true(special > 60 && special < 150);
        for (int64_t i = 0; i < mp_tensor_count(&f.in.t[MP_W1]); i++)
            assert_true(isfinite(value(&f, MP_W1, i)));
        mp_inputs_destroy(&f.in);
    }
}

static void limits_reach_the_clamps(void **unused) {
    (void)unused;
    fixture f = made("M=20 K=128 N=64 data=limits act=clamp_silu limit=10 bias=1");
    int beyond = 0;
    for (int64_t m = 0; m < 20; m++) {
        const int64_t e = ids_of(&f)[m * 2];
        for (int64_t n = 0; n < 128; n++) {
            double sum = 0;
            for (int64_t k = 0; k < 128; k++)
                sum += value(&f, MP_X, m * 128 + k) * value(&f, MP_W1, (e * 128 + n) * 128 + k);
            if (m % 2) assert_true(sum == 0);
            beyond += fabs(sum) > 10;
        }
    }
    assert_true(beyond > 10 * 128 / 10);
    mp_inputs_destroy(&f.in);
}

/* The last row runs past the last code: every code is a gate once, beside an up of 1, then the first ones are
 * again, beside others. */
/* ---- unused ---- */

/* Elements first .. first+count are NaN or Inf, all of them, where `spoilt`; else those of data=normal. */
static void assert_spoilt(const fixture *f, const fixture *normal, mp_tensor_id which, int64_t first,
                          int64_t count, bool spoilt) {
    for (int64_t i = first; i < first + count; i++) {
        if (spoilt)
            assert_true(!isfinite(value(f, which, i)));
        else
            assert_true(value(f, which, i) == value(normal, which, i));
    }
}

static void what_nothing_uses_is_not_finite(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=9 K=8 N=4 bias=1 routing=empty", "M=1 topk=3 K=8 N=4 bias=1",
                                        "M=12 K=8 N=4 filter=0.6 bias=1", "M=9 K=8 N=4 routing=padded bias=1",
                                        "M=8 K=8 N=4 ep_size=4 ep_rank=1 bias=1"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        char text[128];
        snprintf(text, sizeof text, "%s data=unused", texts[i]);
        fixture f = made(text), normal = made(texts[i]);
        const mp_case *c = &f.c;
        const int32_t *ids = ids_of(&f);
        bool used[8] = {false};
        int64_t unused_experts = 0, filtered = 0;
        for (int64_t t = 0; t < mp_case_slots(c); t++)
            if (ids[t] >= 0) used[ids[t]] = true;
        for (int64_t e = 0; e < c->E; e++) {
            const int64_t rows = mp_case_w1_rows(c);
            assert_spoilt(&f, &normal, MP_W1, e * rows * c->K, rows * c->K, !used[e]);
            assert_spoilt(&f, &normal, MP_W2, e * c->K * c->N, c->K * c->N, !used[e]);
            assert_spoilt(&f, &normal, MP_B1, e * rows, rows, !used[e]);
            assert_spoilt(&f, &normal, MP_B2, e * c->K, c->K, !used[e]);
            unused_experts += !used[e];
        }
        for (int64_t m = 0; m < c->M; m++) {
            bool routed = false;
            for (int64_t t = m * c->topk; t < (m + 1) * c->topk; t++) {
                assert_true(isnan(value(&f, MP_TOPK_WEIGHTS, t)) == (ids[t] < 0));
                routed = routed || ids[t] >= 0;
                filtered += ids[t] < 0;
            }
            if (c->routing != MP_PADDED || m < 7) /* of 9, the rest are padding, NaN as in normal */
                assert_spoilt(&f, &normal, MP_X, m * c->K, c->K, !routed);
        }
        assert_true(unused_experts > 0 || filtered > 0);
        mp_inputs_destroy(&f.in);
        mp_inputs_destroy(&normal.in);
    }
}

/* data=codes: rows of x, one group each, are of eight kinds in turn. */
static void numbers_are_at_limits_of_codes(void **unused) {
    (void)unused;
    static const char *const dtypes[] = {"bf16", "fp16"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char text[96];
        snprintf(text, sizeof text, "M=8 K=200 N=24 quant=fp8-channel data=codes dtype=%s", dtypes[d]);
        fixture f = made(text);
        const double unit = 0x1p-7, smallest = mp_round_to(f.c.dtype, d ? 0x1p-24 : 0x1p-133);
        double amax[8] = {0};
        int ties = 0, large = 0;
        for (int64_t i = 0; i < 8 * 200; i++) {
            const double v = fabs(value(&f, MP_X, i));
            amax[i / 200] = fmax(amax[i / 200], v);
            if (i < 200)
                ties += fabs(mp_round_to(MP_E4M3, v / unit) - v / unit) == mp_half_ulp(MP_E4M3, v / unit);
            if (i / 200 == 2) large += v >= 1024;
            if (i / 200 == 6) assert_true(v < 1e-10 || d == 1);
            if (i / 200 == 7) assert_true(v > 0 && v <= 4 * smallest);
        }
        assert_int_equal(ties, 199); /* all but the largest */
        assert_int_equal(large, 1);
        assert_true(amax[0] == 448 * unit && amax[1] == 0 && amax[3] == 448 * unit);
        assert_true(amax[4] == 448 * unit + 2 * mp_half_ulp(f.c.dtype, 448 * unit));
        assert_true(amax[5] == 448 * unit - 2 * mp_half_ulp(f.c.dtype, 448 * unit));
        mp_inputs_destroy(&f.in);
    }
}

static int64_t bytes_of(const fixture *f, mp_tensor_id id, uint8_t byte) {
    const uint8_t *bytes = f->in.t[id].data;
    int64_t count = 0;
    for (size_t i = 0; i < mp_tensor_bytes(&f->in.t[id]); i++) count += bytes[i] == byte;
    return count;
}

static void codes_and_scales_are_at_their_limits(void **unused) {
    (void)unused;
    fixture f = made("M=8 K=200 N=24 quant=mxfp8 data=codes");
    for (int code = 0; code < 256; code++)
        assert_int_equal(bytes_of(&f, MP_W1, (uint8_t)code) == 0, (code & 0x7F) == 0x7F); /* NaN */
    assert_true(bytes_of(&f, MP_W1_SCALE, 0) > 0 && bytes_of(&f, MP_W1_SCALE, 254) > 0);
    assert_true(bytes_of(&f, MP_W1_SCALE, 255) > 0);
    mp_inputs_destroy(&f.in);

    f = made("M=8 K=200 N=24 quant=mxfp4 data=codes"); /* groups of 32; row 5 has NaN in its sixth */
    for (int64_t k = 0; k < 200; k += 32) {
        int64_t others = 0;
        for (int64_t i = k; i < k + 32 && i < 200; i++) others += value(&f, MP_W1, 5 * 200 + i) != 0;
        assert_int_equal(isnan(value(&f, MP_W1_SCALE, 5 * 7 + k / 32)), k == 160);
        assert_int_equal(others == 0, k == 160);
    }
    mp_inputs_destroy(&f.in);

    f = made("M=8 K=200 N=24 quant=fp8-channel data=codes");
    int64_t zero = 0, subnormal = 0, large = 0;
    for (int64_t i = 0; i < mp_tensor_count(&f.in.t[MP_W1_SCALE]); i++) {
        const double scale = value(&f, MP_W1_SCALE, i);
        zero += scale == 0;
        subnormal += scale > 0 && scale < 0x1p-126;
        large += scale == 0x1p96;
    }
    assert_true(zero > 0 && subnormal > 0 && large > 0);
    mp_inputs_destroy(&f.in);

    f = made("M=8 K=200 N=24 quant=int4-w4a16-zp data=codes");
    for (int byte = 0; byte < 256; byte++) {
        const bool limits = (byte & 15) % 15 == 0 && (byte >> 4) % 15 == 0;
        assert_int_equal(bytes_of(&f, MP_W1_ZERO, (uint8_t)byte) > 0, limits);
    }
    mp_inputs_destroy(&f.in);
}

static void exhaustive_gates_are_all_codes(void **unused) {
    (void)unused;
    static const char *const texts[] = {"", " interleaved=1", " gated=0 dtype=fp16", " dtype=fp16"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        char text[128];
        snprintf(text, sizeof text, "M=5 topk=1 N=14001 scope=act data=exhaustive%s", texts[i]);
        fixture f = made(text);
        const int64_t N = f.c.N, width = mp_tensor_row_length(&f.in.t[MP_CACHE1]);
        int64_t other = 0;
        for (int64_t number = 0; number < 5 * N; number++) {
            const int64_t row = number / N * width, n = number % N, gate = f.c.interleaved ? 2 * n : n,
                          up = f.c.interleaved ? gate + 1 : N + n;
            assert_int_equal(((const uint16_t *)f.in.t[MP_CACHE1].data)[row + gate], number % 65536);
            if (!f.c.gated) continue;
            assert_true(number >= 65536 || value(&f, MP_CACHE1, row + up) == 1);
            other += value(&f, MP_CACHE1, row + up) != 1;
        }
        assert_true(f.c.gated ? other > (5 * N - 65536) * 9 / 10 : width == N);
        mp_inputs_destroy(&f.in);
    }
}

/* w*2^24 is an odd integer of many bits, all slots of a token differ, and they sum to nearly 1. */
static void router_weights(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=300 topk=1 K=1 N=1", "M=300 topk=2 K=1 N=1",
                                        "M=300 topk=8 K=1 N=1", "M=5 topk=1024 E=1024 K=1 N=1"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        const float *w = f.in.t[MP_TOPK_WEIGHTS].data;
        for (int64_t m = 0; m < f.c.M; m++) {
            double sum = 0;
            for (int64_t j = 0; j < f.c.topk; j++) {
                const float v = w[m * f.c.topk + j];
                assert_true(v > 0 && v < 1 && (double)v != mp_round_to(MP_BF16, (double)v));
                sum += (double)v;
                for (int64_t k = 0; k < j; k++) assert_true(w[m * f.c.topk + k] != v);
            }
            assert_true(sum > 0.79 && sum < 1.01);
            if (m) assert_true(w[m * f.c.topk] != w[(m - 1) * f.c.topk]);
        }
        mp_inputs_destroy(&f.in);
    }
}

static void filtered_slots_of_combine_are_zero(void **unused) {
    (void)unused;
    fixture f = made("M=30 topk=4 K=9 scope=combine filter=0.5 data=special");
    for (int64_t slot = 0; slot < 120; slot++) {
        for (int64_t k = 0; k < 9 && ids_of(&f)[slot] < 0; k++)
            assert_true(value(&f, MP_CACHE3, slot * 9 + k) == 0);
    }
    mp_inputs_destroy(&f.in);
}

/* ---- selection, digest, id check ---- */

static void selection_takes_tokens(void **unused) {
    (void)unused;
    mp_error err;
    static const int64_t rows[] = {4, 0, 4, 2};
    static const char *const texts[] = {"M=5 K=6 N=3 bias=1", "M=5 K=6 scope=combine", "M=5 scope=align"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        const uint64_t before = mp_inputs_digest(&f.in);
        mp_inputs out;
        assert_int_equal(mp_inputs_select(&f.c, &f.in, rows, COUNT(rows), &out, &err), MP_OK);
        for (int t = 0; t < MP_TENSOR_COUNT; t++) {
            const mp_tensor *from = &f.in.t[t], *to = &out.t[t];
            const bool token = t == MP_X || t == MP_TOPK_IDS || t == MP_TOPK_WEIGHTS || t == MP_CACHE3;
            assert_int_equal(from->data != NULL, to->data != NULL);
            if (!from->data) continue;
            assert_int_equal(out.borrowed[t], !token);
            if (!token) assert_ptr_equal(from->data, to->data);
            if (!token) continue;
            const size_t bytes = mp_tensor_bytes(from) / 5;
            assert_int_equal(mp_tensor_bytes(to), 4 * bytes);
            for (size_t r = 0; r < COUNT(rows); r++)
                assert_memory_equal((char *)to->data + r * bytes,
                                    (char *)from->data + (size_t)rows[r] * bytes, bytes);
        }
        mp_inputs_destroy(&out);
        assert_true(mp_inputs_digest(&f.in) == before); /* what was borrowed is still there */
        const int64_t wrong[] = {1, 5};
        assert_int_equal(mp_inputs_select(&f.c, &f.in, wrong, 2, &out, &err), MP_EINPUT);
        assert_non_null(strstr(err.text, "token 5"));
        mp_inputs_destroy(&f.in);
    }
}

static void digest_sees_every_tensor(void **unused) {
    (void)unused;
    fixture f = made("M=5 K=6 N=3 bias=1");
    const uint64_t digest = mp_inputs_digest(&f.in);
    for (int t = 0; t < MP_TENSOR_COUNT; t++) {
        if (!f.in.t[t].data) continue;
        unsigned char *last = (unsigned char *)f.in.t[t].data + mp_tensor_bytes(&f.in.t[t]) - 1;
        *last ^= 1;
        assert_true(mp_inputs_digest(&f.in) != digest);
        *last ^= 1;
    }
    assert_true(mp_inputs_digest(&f.in) == digest);
    mp_inputs_destroy(&f.in);
}

static void invalid_ids_are_named(void **unused) {
    (void)unused;
    mp_error err;
    static const int32_t bad[] = {8, -2, INT32_MAX, INT32_MIN};
    fixture f = made("M=5 scope=align filter=0.5");
    int32_t *ids = f.in.t[MP_TOPK_IDS].data;
    assert_int_equal(mp_inputs_check_ids(&f.c, &f.in, &err), MP_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        ids[7] = bad[i];
        assert_int_equal(mp_inputs_check_ids(&f.c, &f.in, &err), MP_EINPUT);
        assert_non_null(strstr(err.text, "token 3, slot 1"));
    }
    mp_inputs_destroy(&f.in);
}

/* A family without rules fills with what no check passes, not with the numbers of another family. */
static void no_family_is_no_other_family(void **unused) {
    (void)unused;
    fixture f = {.c = mp_case_default()};
    mp_error err;
    f.c.data = MP_DATA_COUNT;
    f.c.routing = MP_ROUTING_COUNT;
    assert_int_equal(mp_inputs_create(&f.c, &f.in, &err), MP_OK);
    static const mp_tensor_id filled[] = {MP_X, MP_W1, MP_W2};
    for (size_t i = 0; i < COUNT(filled); i++)
        for (int64_t k = 0; k < mp_tensor_count(&f.in.t[filled[i]]); k++)
            assert_true(isnan(value(&f, filled[i], k)));
    for (int64_t t = 0; t < mp_case_slots(&f.c); t++) assert_int_equal(ids_of(&f)[t], -1);
    mp_inputs_destroy(&f.in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_pinned),
        cmocka_unit_test(devices_round_as_the_cpu_does),
        cmocka_unit_test(deferred_weights_are_the_same),
        cmocka_unit_test(deferred_weights_are_told_apart),
        cmocka_unit_test(deferred_activations_are_the_same),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(a_larger_batch_begins_with_the_smaller),
        cmocka_unit_test(seeds_and_tensors_differ),
        cmocka_unit_test(plan_is_what_create_makes),
        cmocka_unit_test(outputs_are_near_one),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(wide_types_use_their_bits),
        cmocka_unit_test(integers_stay_exact),
        cmocka_unit_test(onehot_selects),
        cmocka_unit_test(wide_spreads_and_cancels),
        cmocka_unit_test(special_rows),
        cmocka_unit_test(limits_reach_the_clamps),
        cmocka_unit_test(what_nothing_uses_is_not_finite),
        cmocka_unit_test(numbers_are_at_limits_of_codes),
        cmocka_unit_test(codes_and_scales_are_at_their_limits),
        cmocka_unit_test(exhaustive_gates_are_all_codes),
        cmocka_unit_test(no_family_is_no_other_family),
        cmocka_unit_test(router_weights),
        cmocka_unit_test(filtered_slots_of_combine_are_zero),
        cmocka_unit_test(selection_takes_tokens),
        cmocka_unit_test(digest_sees_every_tensor),
        cmocka_unit_test(invalid_ids_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
