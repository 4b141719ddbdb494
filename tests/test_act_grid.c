/* SPDX-License-Identifier: Apache-2.0 */
/* The grid of gates and ups: what it marks is all that near values may be stored differently with, looked at
 * pair by pair, and little more. */
#include "harness/infer/act_grid.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float quotient(float v) {
    return v / (1 + expf(-v));
}
static float through_tanh(float v) { /* of negative gates some units further off, of large ones far off */
    return v * (0.5f * (1 + tanhf(0.5f * v)));
}
static float far_off(float v) {
    return quotient(v) * 1.5f;
}
static bool are_near(mp_dtype dtype, float a, float b) {
    return fabsf(a - b) <= (float)mp_unit_roundoff(dtype) / 8 * fabsf(a);
}

static void a_grid_has_every_pair_once(void **state) {
    (void)state;
    const mp_act_grid g = mp_act_grid_of(MP_BF16, true);
    uint8_t *gates = calloc(1 << 16, 1), *ups = calloc(1 << 16, 1);
    assert_non_null(gates);
    assert_non_null(ups);
    assert_int_equal(mp_act_grid_count(&g), 2048 * 128);
    for (int64_t i = 0; i < mp_act_grid_count(&g); i++) {
        double pair[2];
        mp_act_grid_pair(&g, i, pair);
        assert_true(mp_round_to(MP_BF16, pair[0]) == pair[0] && mp_round_to(MP_BF16, pair[1]) == pair[1]);
        assert_true(fabs(pair[0]) >= 0x1p-4 && fabs(pair[0]) < 16 && pair[1] >= 1 && pair[1] < 2);
        if (i % g.ups == 0) assert_int_equal(gates[mp_encode_code(MP_BF16, pair[0])]++, 0);
        if (i < g.ups) assert_int_equal(ups[mp_encode_code(MP_BF16, pair[1])]++, 0);
    }
    free(gates);
    free(ups);
    const mp_act_grid alone = mp_act_grid_of(MP_FP16, false);
    assert_int_equal(mp_act_grid_count(&alone), 16384);
}

/* Once and twice rounded, as of float32 and of float64. */
static bool stored_as_one(mp_dtype dtype, float a, float b, float up) {
    const float gate_a = (float)mp_round_to(dtype, (double)a), gate_b = (float)mp_round_to(dtype, (double)b);
    return mp_encode_code(dtype, (double)(a * up)) == mp_encode_code(dtype, (double)(b * up)) &&
           mp_encode_code(dtype, (double)a * (double)up) == mp_encode_code(dtype, (double)b * (double)up) &&
           mp_encode_code(dtype, (double)(gate_a * up)) == mp_encode_code(dtype, (double)(gate_b * up));
}

static void what_differs_is_marked(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16};
    for (size_t d = 0; d < 2; d++) {
        const mp_act_grid g = mp_act_grid_of(dtypes[d], true);
        float *value = malloc((size_t)g.gates * 3 * sizeof *value),
              *factor = malloc((size_t)g.ups * sizeof *factor);
        uint8_t *marked = malloc((size_t)mp_act_grid_count(&g));
        int64_t differ = 0, marks = 0;
        assert_non_null(value);
        assert_non_null(factor);
        assert_non_null(marked);
        for (int64_t i = 0; i < g.ups; i++) factor[i] = (float)mp_act_grid_up(&g, i);
        for (int64_t i = 0; i < g.gates; i++) {
            const float gate = (float)mp_act_grid_gate(&g, i);
            value[3 * i] = quotient(gate);
            value[3 * i + 1] = far_off(gate);
            value[3 * i + 2] = through_tanh(gate);
        }
        mp_act_grid_mark(&g, value, 3, factor, marked);
        for (int64_t i = 0; i < mp_act_grid_count(&g); i++) {
            const float gate = (float)mp_act_grid_gate(&g, i / g.ups), a = quotient(gate),
                        b = through_tanh(gate);
            marks += marked[i];
            if (a == b || !are_near(g.dtype, a, b) || stored_as_one(g.dtype, a, b, factor[i % g.ups]))
                continue;
            differ++;
            if (!marked[i])
                fail_msg("%s: gate %a, up %a", mp_dtype_name(g.dtype), (double)gate,
                         (double)factor[i % g.ups]);
        }
        assert_true(differ > 0);
        if (marks * 50 > mp_act_grid_count(&g)) fail_msg("%lld marks", (long long)marks);
        free(value);
        free(factor);
        free(marked);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_grid_has_every_pair_once),
                                       cmocka_unit_test(what_differs_is_marked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
