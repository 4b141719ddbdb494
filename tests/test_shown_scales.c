/* SPDX-License-Identifier: Apache-2.0 */
/* Scales that a subject shows without the numbers that they were made of, where one of these is NaN, or may
 * be anything: what the others say of the scale is asked for all the same. */
#include "moeparity/matrix.h"
#include "tests/spoiled.h"

#include <math.h>
#include <string.h>

static const char TEXT[] = "M=8 E=2 topk=2 K=64 N=128 quant=fp8-channel fused_quant=1";
enum { N = 128, ROWS = 16, ODD = 3 /* the column whose number is none */ };

/* The row of codes that is made by this many times the scale that it should have; < 0: none. */
static struct {
    int64_t row;
    double times;
    double odd; /* told: the number that is none */
} fault;

/* What act makes of gate and up, as it is stored. */
static double activated(const mp_tensor *cache1, int64_t row, int64_t n) {
    const double gate = mp_decode(cache1->dtype, cache1->data, row * 2 * N + n),
                 up = mp_decode(cache1->dtype, cache1->data, row * 2 * N + N + n);
    return mp_round_to(MP_BF16, gate / (1 + exp(-gate)) * up);
}

/* Codes and scale of a row from its finite numbers: a subject that means well, but for the factor. */
static mp_status quantise_again(int run, const mp_case *c, mp_trace *trace, mp_error *err) {
    (void)run, (void)c, (void)err;
    if (fault.row < 0) return MP_OK;
    uint8_t *codes = mp_tensor_row(&trace->t[MP_CACHE2_CODES], fault.row);
    float *scale = mp_tensor_row(&trace->t[MP_CACHE2_SCALE], fault.row);
    double amax = 0;
    fault.odd = activated(&trace->t[MP_CACHE1], fault.row, ODD);
    for (int64_t n = 0; n < N; n++)
        if (n != ODD) amax = fmax(amax, fabs(activated(&trace->t[MP_CACHE1], fault.row, n)));
    *scale = (float)fault.times * (float)(amax / 448);
    for (int64_t n = 0; n < N; n++)
        if (n != ODD)
            codes[n] = (uint8_t)mp_encode_e4m3_saturate(activated(&trace->t[MP_CACHE1], fault.row, n) /
                                                        (double)*scale);
    return MP_OK;
}

/* Whether some scale of act's codes is none that the quantiser gives. */
static bool is_strange(const char *edit, int64_t row, double times) {
    const mp_run_options options = {.settings = {.edit = edit, .once = true}};
    fault.row = row;
    fault.times = times;
    const mp_verdict *v = judge_by((spoiled){.spoil = quantise_again}, TEXT, NULL, &options);
    if (row < 0) assert_int_equal(v->outcome, MP_PASS);
    assert_true(v->stage[MP_QUANT_ACT].judged);
    return isinf(v->stage[MP_QUANT_ACT].max_ratio);
}

/* A NaN is left out of the largest magnitude, and the scale is known as if it were not there. */
static void a_nan_leaves_the_scale_to_the_others(void **state) {
    (void)state;
    const char *edit = "w1_scale[:,3]=nan";
    assert_false(is_strange(edit, -1, 1));
    for (int64_t row = 0; row < ROWS; row++) {
        assert_false(is_strange(edit, row, 1));
        assert_true(is_strange(edit, row, 2));
        assert_true(is_strange(edit, row, 0.5));
    }
}

/* What overflows may be any number, and Inf: a scale is not too large for it, but may be too small for the
 * others. Of a gate of -Inf a NaN is left. */
static void a_number_that_may_be_any_leaves_a_least_scale(void **state) {
    (void)state;
    const char *edit = "w1_scale[:,3]=inf";
    int any = 0;
    assert_false(is_strange(edit, -1, 1));
    for (int64_t row = 0; row < ROWS; row++) {
        assert_false(is_strange(edit, row, 1));
        assert_int_equal(is_strange(edit, row, 2), isnan(fault.odd));
        assert_true(is_strange(edit, row, 0.5));
        any += isinf(fault.odd) != 0;
    }
    assert_in_range(any, 1, ROWS - 1);
}

static mp_subject host;

static mp_status describe_without_quantiser(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    const mp_status status = host.describe(&host, c, offer, err);
    offer->contract.quantiser = MP_ANY_QUANTISER;
    return status;
}

static mp_status run_as_host(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_offer offer = *e->offer;
    mp_execution own = *e;
    own.offer = &offer;
    const mp_status status = host.describe(&host, e->c, &offer, err);
    return status == MP_OK ? host.run(&host, &own, err) : status;
}

/* Of a quantiser that nobody names a NaN may become the scale. It is told that nothing is known of one scale
 * of each slot of expert 0. */
static void a_scale_that_nan_may_become_is_told(void **state) {
    (void)state;
    static mp_verdict v; /* large */
    mp_subject subject = {.name = "other", .describe = describe_without_quantiser, .run = run_as_host};
    const mp_run_options options = {.subject = &subject,
                                    .settings = {.edit = "w1_scale[0,3]=nan", .once = true}};
    mp_matrix matrix = {0};
    mp_error err = {0};
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    assert_int_equal(mp_matrix_add(&matrix, TEXT, NULL, 0, &err), MP_OK);
    mp_run_case(&matrix.rows[0], &options, &v);
    if (v.outcome != MP_PASS) fail_msg("%s", v.reason);
    const char *told = v.check[MP_CHECK_BOUND].text;
    if (!strstr(told, "and 8 scales may be any")) fail_msg("'%s'", told);
    mp_verdict_free(&v);
    mp_matrix_free(&matrix);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nan_leaves_the_scale_to_the_others),
        cmocka_unit_test(a_number_that_may_be_any_leaves_a_least_scale),
        cmocka_unit_test(a_scale_that_nan_may_become_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
