/* SPDX-License-Identifier: Apache-2.0 */
/* cases/deferred.c: what is made by counting, when somebody asks for it or on a device, is what others are
 * filled with. */
#include "base/maker.h"
#include "cases/deferred.h"
#include "cases/fill.h"
#include "cases/lora.h"
#include "tests/inputs_support.h"

/* 2^exponent * magnitude by the definition; codes without a sign are around a zero, in float32. */
static uint64_t defined_code(mp_dtype dtype, const mp_code_format *f, int64_t magnitude, int exponent) {
    const double value = ldexp((double)magnitude, exponent);
    return mp_encode_code(dtype,
                          f->kind == MP_CODES_UNSIGNED ? (double)((float)value + (float)f->zero) : value);
}

static void expect_code(mp_dtype dtype, const mp_code_format *f, int64_t magnitude, int exponent) {
    const uint64_t code = mp_code_of(f, mp_number_of(magnitude, exponent)),
                   expected = defined_code(dtype, f, magnitude, exponent);
    if (code != expected)
        fail_msg("%s: %lld * 2^%d is %04llX, expected %04llX", mp_dtype_name(dtype), (long long)magnitude,
                 exponent, (unsigned long long)code, (unsigned long long)expected);
}

/* Every sum there is, rounded by integers alone as a device rounds it, far above and below the format's range
 * too, and numbers of all lengths. */
static void devices_round_as_the_cpu_does(void **unused) {
    (void)unused;
    static const struct {
        mp_dtype dtype;
        int zero, below, above; /* of exponents */
    } kinds[] = {{MP_BF16, 0, -156, 115}, {MP_FP16, 0, -44, 4},     {MP_E4M3, 0, -36, 4},
                 {MP_E5M2, 0, -44, 4},    {MP_E2M1, 0, -30, 4},     {MP_I8, 0, -30, 4},
                 {MP_I4, 0, -30, 4},      {MP_U8, 128, -30, 4},     {MP_U4, 8, -30, 4},
                 {MP_FP32, 0, -176, 115}, {MP_FP64, 0, -1040, 900}, {MP_UE8M0, 0, -180, 130}};
    for (size_t d = 0; d < COUNT(kinds); d++) {
        const mp_dtype dtype = kinds[d].dtype;
        mp_code_format f = mp_code_format_of(dtype);
        f.zero = kinds[d].zero;
        const bool sums = f.bits <= 16 && f.kind != MP_CODES_POWER;
        const int below = kinds[d].below, above = kinds[d].above;
        for (int exponent = below; sums && exponent <= above; exponent += exponent < below + 40 ? 3 : 11)
            for (int sum = -MP_CENTRED_MOST; sum <= MP_CENTRED_MOST; sum++)
                expect_code(dtype, &f, sum, exponent);
        for (uint64_t i = 0; i < 200000; i++) {
            const uint64_t bits = mp_bits(d, i), length = 1 + bits % 52;
            const int range = above - below,
                      exponent = below - (int)length + (int)(mp_mix(bits) % (uint64_t)range);
            const int64_t magnitude = 1 + (int64_t)(bits >> (64 - length));
            const bool negative = f.kind != MP_CODES_POWER && i % 2;
            if (f.kind == MP_CODES_UNSIGNED && abs(exponent) > 63) continue;
            expect_code(dtype, &f, negative ? -magnitude : magnitude, exponent);
        }
    }
}

/* Weights that are made when somebody asks for them are the same, expert by expert, and so are those that a
 * device makes by counting; others are not deferred. */
static void deferred_weights_are_the_same(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "M=2 E=5 K=72 N=40 seed=3",
        "M=2 E=5 K=72 N=40 dtype=fp16 data=overflow gated=0",
        "M=2 E=5 K=72 N=40 data=special bias=1",
        "M=2 E=5 K=2064 N=40 data=limits interleaved=1",
        "M=2 E=5 K=256 N=128 quant=fp8-block",
        "M=2 E=5 K=200 N=40 quant=fp8-channel data=limits",
        "M=2 E=5 K=200 N=40 quant=int8-channel data=special",
        "M=2 E=5 K=200 N=40 quant=int8-w8a16 seed=7",
        "M=2 E=5 K=192 N=64 quant=nvfp4",
        "M=2 E=5 K=192 N=64 quant=mxfp4 gated=0",
        "M=2 E=5 K=8448 N=8 quant=int4-w4a16",
        "M=2 E=5 K=256 N=128 quant=int4-w4a16-zp data=limits",
        "M=2 E=5 K=72 N=40 data=wide",
        "M=2 E=5 K=72 N=40 data=integer",
        "M=2 E=5 K=72 N=40 data=onehot",
        "M=2 E=5 K=72 N=40 dtype=fp32",
        "M=2 E=5 K=72 N=40 dtype=fp32 data=wide",
        "M=2 E=5 K=72 N=40 dtype=fp16 data=integer",
        "M=2 E=5 K=256 N=128 quant=fp8-block data=codes",
        "M=2 E=5 K=256 N=128 quant=mxfp4 data=codes",
        "M=2 E=5 K=8448 N=8 quant=int4-w4a16 data=codes",
        "M=2 E=5 K=256 N=128 quant=int8-channel data=integer",
        "M=2 E=5 K=8448 N=8 quant=int4-w4a16-zp data=onehot",
        "M=2 E=5 K=8448 N=8 quant=int4-w4a16 data=integer",
        "M=2 E=5 K=256 N=128 quant=mxfp8 data=wide",
        "M=2 E=5 K=72 N=40 lora_adapters=4 lora_ranks=zeros lora_outer=copies",
        "M=2 E=5 K=72 N=40 lora_adapters=4 lora_ranks=garbage lora_data=same dtype=fp16",
        "M=2 E=5 K=72 N=40 lora_adapters=3 lora_data=zero_b lora_rank=12 gated=0",
        "M=2 E=5 K=72 N=40 lora_adapters=3 lora_outer=shared data=integer",
        "M=2 E=5 K=72 N=40 data=unused lora_adapters=2"};
    enum { DEFERRED = COUNT(texts) - 1 }; /* in the last one it is the ids that say what is unused */
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        mp_inputs later;
        mp_error err;
        assert_int_equal(mp_inputs_create_deferring(&f.c, 1, &later, &err), MP_OK);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor *now = &f.in.t[id], *t = &later.t[id];
            const mp_numbers *numbers = mp_deferred_numbers(t);
            const bool weights = id == MP_W1 || id == MP_W2 || mp_is_lora_factor((mp_tensor_id)id);
            assert_int_equal(numbers != NULL, i < DEFERRED && now->data && (weights || id == MP_X));
            if (!now->data) continue;
            if (!weights || !numbers) {
                mp_tensor_make(t, NULL);
                assert_memory_equal(t->data, now->data, mp_tensor_bytes(now));
                continue;
            }
            for (int64_t k = 0; k < mp_tensor_count(now); k++)
                assert_int_equal(mp_code_of_element(numbers, (uint64_t)k),
                                 mp_code_at(now->dtype, now->data, k));
            const int64_t matrices = now->dim[0];
            const size_t expert = mp_tensor_bytes(now) / (size_t)matrices;
            bool some[20] = {false, true, false, true};
            assert_in_range(matrices, 3, COUNT(some));
            mp_tensor_make(t, some);
            for (size_t e = 1; e < (matrices > 3 ? 4 : 2); e += 2)
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
            assert_true(most <= possible && most >= (most < 1 ? 0.45 : 0.5) * possible);
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

/* And so are the activations of another batch. */
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
                 {"M=37 K=72 N=40 data=unused", MP_TENSOR_COUNT},
                 {"M=37 K=72 scope=combine dtype=fp64", MP_TENSOR_COUNT},
                 {"M=37 K=72 N=40 data=special", MP_X},
                 {"M=37 K=72 N=40 data=integer dtype=fp16", MP_X},
                 {"M=37 K=72 N=40 data=wide dtype=fp32", MP_X},
                 {"M=37 K=72 N=40 data=onehot", MP_X},
                 {"M=37 N=40 data=limits scope=act", MP_CACHE1},
                 {"M=37 N=40 data=overflow scope=down dtype=fp16", MP_CACHE2},
                 {"M=37 K=72 data=special scope=combine dtype=fp32", MP_CACHE3},
                 {"M=5 topk=1 N=14001 data=exhaustive scope=act", MP_CACHE1},
                 {"M=5 topk=1 N=14001 data=exhaustive scope=act interleaved=1 dtype=fp16", MP_CACHE1},
                 {"M=37 N=1401 data=exhaustive scope=act gated=0", MP_CACHE1},
                 {"M=37 K=256 N=128 quant=fp8-block data=codes", MP_X},
                 {"M=37 K=256 N=128 quant=int8-channel data=codes dtype=fp16", MP_X},
                 {"M=37 K=192 N=128 quant=nvfp4 data=codes", MP_X},
                 {"M=37 K=256 N=128 quant=fp8-tensor-static data=codes scope=down", MP_CACHE2_CODES},
                 {"M=37 K=72 N=40 dtype=fp32", MP_X}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f = made(cases[i].text);
        mp_inputs now, later;
        mp_error err;
        int count = 0;
        assert_int_equal(mp_inputs_other(&f.c, &f.in, SIZE_MAX, &now, &err), MP_OK);
        assert_int_equal(mp_inputs_other(&f.c, &f.in, 1, &later, &err), MP_OK);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor *t = &later.t[id];
            const mp_numbers *numbers = mp_deferred_numbers(t);
            count += numbers != NULL;
            if (numbers && id != (int)cases[i].deferred)
                fail_msg("%s: %s", cases[i].text, mp_tensor_name((mp_tensor_id)id));
            for (int64_t k = 0; numbers && k < mp_tensor_count(t); k++)
                assert_int_equal(mp_code_of_element(numbers, (uint64_t)k),
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

/* Of large activations rows are made that are asked for, and those beside them; of chosen tokens, too, and of
 * what is chosen of these. A device makes the same. */
static void rows_are_made_that_are_asked_for(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=1000 topk=3 E=5 K=512 N=40 seed=3",
                                        "M=1000 topk=3 E=5 K=520 N=40 data=special dtype=fp32",
                                        "M=1000 topk=3 K=512 scope=combine data=limits",
                                        "M=1000 topk=1 K=512 N=128 quant=int8-channel data=codes",
                                        "M=1000 topk=2 N=512 scope=act data=special"};
    enum { CHOSEN = 700, AGAIN = 300 };
    int64_t chosen[CHOSEN], again[AGAIN];
    for (int64_t i = 0; i < CHOSEN; i++) chosen[i] = (i * 617 + 5) % 1000;
    for (int64_t i = 0; i < AGAIN; i++) again[i] = CHOSEN - 1 - 2 * i;
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        mp_inputs later, some, fewer, all_some, all_fewer;
        mp_error err;
        mp_case part = f.c;
        part.M = CHOSEN;
        const mp_tensor_id id = f.in.t[MP_CACHE3].data   ? MP_CACHE3
                                : f.in.t[MP_CACHE1].data ? MP_CACHE1
                                                         : MP_X;
        assert_int_equal(mp_inputs_create_deferring(&f.c, 1, &later, &err), MP_OK);
        assert_int_equal(mp_inputs_select(&f.c, &later, chosen, CHOSEN, &some, &err), MP_OK);
        assert_int_equal(mp_inputs_select(&part, &some, again, AGAIN, &fewer, &err), MP_OK);
        assert_int_equal(mp_inputs_select(&f.c, &f.in, chosen, CHOSEN, &all_some, &err), MP_OK);
        assert_int_equal(mp_inputs_select(&part, &all_some, again, AGAIN, &all_fewer, &err), MP_OK);
        const mp_tensor *t[] = {&later.t[id], &some.t[id], &fewer.t[id]},
                        *all[] = {&f.in.t[id], &all_some.t[id], &all_fewer.t[id]};
        const size_t bytes = mp_tensor_row_bytes(t[0]);
        const int64_t wanted[] = {17, -1, 599, 18};
        for (int k = 0; k < 3; k++) {
            const int64_t rows = mp_tensor_rows(t[k]);
            const mp_numbers *n = mp_deferred_numbers(t[k]);
            const int64_t *source = mp_deferred_source(t[k]);
            assert_non_null(n);
            assert_int_equal(source != NULL, k > 0);
            mp_tensor window = *t[k]; /* which begins with row 200 */
            window.data = mp_tensor_row(t[k], 200);
            mp_tensor_make_rows(t[k], wanted, k < 2 ? 4 : 2);
            mp_tensor_make_rows(&window, NULL, 3);
            for (int w = 0; w < (k < 2 ? 4 : 2); w++)
                if (wanted[w] >= 0)
                    assert_memory_equal(mp_tensor_row(t[k], wanted[w]), mp_tensor_row(all[k], wanted[w]),
                                        bytes);
            assert_memory_equal(window.data, mp_tensor_row(all[k], 200), 3 * bytes);
            assert_true(t[k]->maker->units > 2);
            assert_true(t[k]->maker->unchanged(t[k]->maker));
            *(char *)window.data ^= 1;
            assert_false(t[k]->maker->unchanged(t[k]->maker));
            *(char *)window.data ^= 1;
            mp_tensor_make(t[k], NULL);
            assert_memory_equal(t[k]->data, all[k]->data, mp_tensor_bytes(t[k]));
            for (int64_t r = 0; r < rows; r += 7) {
                const int64_t row = source ? source[r] : r, length = mp_tensor_row_length(t[k]);
                for (int64_t j = 0; j < length; j += 3)
                    assert_int_equal(mp_code_of_element(n, (uint64_t)(row * length + j)),
                                     mp_code_at(t[k]->dtype, all[k]->data, r * length + j));
            }
        }
        mp_inputs_destroy(&all_fewer);
        mp_inputs_destroy(&all_some);
        mp_inputs_destroy(&fewer);
        mp_inputs_destroy(&some);
        mp_inputs_destroy(&later);
        mp_inputs_destroy(&f.in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_round_as_the_cpu_does),
        cmocka_unit_test(deferred_weights_are_the_same),
        cmocka_unit_test(deferred_weights_are_told_apart),
        cmocka_unit_test(deferred_activations_are_the_same),
        cmocka_unit_test(rows_are_made_that_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
