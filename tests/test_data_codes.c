/* SPDX-License-Identifier: Apache-2.0 */
/* cases/fill.c, limit_numbers.h: families of chosen codes. What nothing uses is NaN and Inf, numbers and
 * scales are at the limits of their formats, gates are all that there are. */
#include "tests/inputs_support.h"

#include <stdio.h>

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

/* The last row runs past the last code: every code is a gate once, beside an up of 1, then the first ones are
 * again, beside others. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nothing_uses_is_not_finite),
        cmocka_unit_test(numbers_are_at_limits_of_codes),
        cmocka_unit_test(codes_and_scales_are_at_their_limits),
        cmocka_unit_test(exhaustive_gates_are_all_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
