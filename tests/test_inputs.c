/* SPDX-License-Identifier: Apache-2.0 */
/* cases/inputs.c: which tensors a case has, what of them is of the routing, selected tokens, digests, ids. */
#include "tests/inputs_support.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_is_what_create_makes),          cmocka_unit_test(router_weights),
        cmocka_unit_test(filtered_slots_of_combine_are_zero), cmocka_unit_test(selection_takes_tokens),
        cmocka_unit_test(digest_sees_every_tensor),           cmocka_unit_test(invalid_ids_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
