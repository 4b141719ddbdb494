/* SPDX-License-Identifier: Apache-2.0 */
/* cases/deferred.c: what is made by counting, when somebody asks for it or on a device, is what others are
 * filled with. */
#include "base/maker.h"
#include "cases/deferred.h"
#include "tests/inputs_support.h"

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
        mp_normal n = {.kind = (int)kinds[d].kind,
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_round_as_the_cpu_does),
        cmocka_unit_test(deferred_weights_are_the_same),
        cmocka_unit_test(deferred_weights_are_told_apart),
        cmocka_unit_test(deferred_activations_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
