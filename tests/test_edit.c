/* SPDX-License-Identifier: Apache-2.0 */
/* cases/edit.c: what numpy would write there, and nothing beside it; what cannot be is refused. */
#include "cases/edit.h"

#include "cases/numbering.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef struct fixture {
    mp_case c;
    mp_inputs before, in;
} fixture;

static fixture made(const char *text, const char *edits) {
    mp_error err;
    fixture f = {.c = mp_case_default()};
    if (mp_case_parse(&f.c, text, &err) || mp_inputs_create(&f.c, &f.before, &err) ||
        mp_inputs_create(&f.c, &f.in, &err) || mp_edits_check_case(edits, &f.c, &err) ||
        mp_inputs_edit(&f.c, edits, &f.in, &err))
        fail_msg("'%s' with '%s': %s", text, edits, err.text);
    return f;
}

static void freed(fixture *f) {
    mp_inputs_destroy(&f->before);
    mp_inputs_destroy(&f->in);
}

static double value(const mp_inputs *in, mp_tensor_id which, int64_t index) {
    return mp_decode(in->t[which].dtype, in->t[which].data, index);
}

/* Expects `meant` of an element where the region of an edit holds its indices, and no change elsewhere. */
static void expect_region(const char *edits, mp_tensor_id id, bool (*inside)(int64_t a, int64_t b, int64_t c),
                          double (*meant)(double)) {
    fixture f = made("M=5 E=4 K=24 N=12", edits);
    const mp_tensor *t = &f.in.t[id];
    const int64_t inner = t->rank == 3 ? t->dim[2] : 1;
    for (int64_t i = 0; i < mp_tensor_count(t); i++) {
        const int64_t a = i / (t->dim[1] * inner), b = i / inner % t->dim[1], c = i % inner;
        const double was = value(&f.before, id, i), is = value(&f.in, id, i);
        const double want = inside(a, b, c) ? mp_round_to(t->dtype, meant(was)) : was;
        if (!(is == want || (isnan(is) && isnan(want))))
            fail_msg("'%s': element %lld,%lld,%lld is %g instead of %g", edits, (long long)a, (long long)b,
                     (long long)c, is, want);
    }
    for (int other = 0; other < MP_TENSOR_COUNT; other++)
        if (other != (int)id && f.in.t[other].data)
            assert_true(mp_tensor_digest(&f.in.t[other]) == mp_tensor_digest(&f.before.t[other]));
    freed(&f);
}

static bool tail_columns(int64_t a, int64_t b, int64_t c) {
    (void)a, (void)c;
    return b >= 7;
}
static bool all(int64_t a, int64_t b, int64_t c) {
    (void)a, (void)b, (void)c;
    return true;
}
static bool last_row(int64_t a, int64_t b, int64_t c) {
    (void)b, (void)c;
    return a == 4;
}
static bool odd_rows_of_2(int64_t a, int64_t b, int64_t c) {
    return a == 2 && b >= 1 && b < 20 && (b - 1) % 3 == 0 && c < 22;
}
static bool last_column(int64_t a, int64_t b, int64_t c) {
    (void)a, (void)b;
    return c == 11;
}
static bool middle(int64_t a, int64_t b, int64_t c) {
    (void)c;
    return a == 1 && (b == 3 || b == 4);
}
static bool none(int64_t a, int64_t b, int64_t c) {
    (void)a, (void)b, (void)c;
    return false;
}

static double zero(double v) {
    (void)v;
    return 0;
}
static double third(double v) {
    return v * 0.3;
}
static double not_a_number(double v) {
    (void)v;
    return (double)NAN;
}
static double minus_inf(double v) {
    (void)v;
    return -(double)INFINITY;
}
static double half_of_two(double v) {
    (void)v;
    return 1.5;
}

static void regions_are_those_of_numpy(void **unused) {
    (void)unused;
    expect_region("x[:,7:]=0", MP_X, tail_columns, zero);
    expect_region("x=*0.3", MP_X, all, third);
    expect_region(" x [ ... ] *= 0.3 ;", MP_X, all, third);
    expect_region("x[-1]=nan", MP_X, last_row, not_a_number);
    expect_region("w1[2,1:20:3,:-2]=-inf", MP_W1, odd_rows_of_2, minus_inf);
    expect_region("w2[...,11]=0", MP_W2, last_column, zero);
    expect_region("w2[:,:,-1]=0", MP_W2, last_column, zero);
    expect_region("x[1,3]=3;x[1,4]=3; x[1,3:5]*=0.5", MP_X, middle, half_of_two);
    expect_region("x[3:1]=0; x[:,24:]=0; x[-99:0]=0", MP_X, none, zero); /* slices that hold nothing */
}

/* Values are rounded once, ties to even: 1 + 2^-8 lies between two bf16. */
static void values_are_rounded_once(void **unused) {
    (void)unused;
    fixture f = made("M=2 E=4 K=24 N=12", "x[0]=1.00390625; x[1]=1.01171875; topk_weights=0.1");
    assert_true(value(&f.in, MP_X, 0) == 1.0);
    assert_true(value(&f.in, MP_X, 24) == 1.015625);
    assert_true(value(&f.in, MP_TOPK_WEIGHTS, 3) == (double)0.1f);
    freed(&f);
}

static void numbered_ids_follow(void **unused) {
    (void)unused;
    fixture f = made("M=6 E=4 topk=2 ep_size=2 ep_rank=1 expert_map=round_robin routing=padded sentinel=E",
                     "topk_ids[2]=-1; topk_ids[2,1]=3");
    const int32_t *ids = f.in.t[MP_TOPK_IDS].data, *numbered = f.in.t[MP_NUMBERED_IDS].data,
                  *before = f.before.t[MP_NUMBERED_IDS].data;
    assert_int_equal(ids[4], -1);
    assert_int_equal(ids[5], 3);
    assert_int_equal(numbered[5], mp_global_expert(&f.c, 3));
    assert_true(mp_local_expert(&f.c, numbered[4]) == -1 || numbered[4] == mp_case_counted_experts(&f.c));
    for (int slot = 0; slot < 12; slot++)
        if (slot / 2 != 2) assert_int_equal(numbered[slot], before[slot]);
    freed(&f);
}

static void filtered_rows_of_cache3_are_zeros(void **unused) {
    (void)unused;
    fixture f = made("M=4 topk=2 K=8 scope=combine", "topk_ids[1,0]=-1; cache3[0]=7");
    for (int64_t k = 0; k < 8; k++) {
        assert_true(value(&f.in, MP_CACHE3, 2 * 8 + k) == 0);
        assert_true(value(&f.in, MP_CACHE3, k) == 7);
    }
    freed(&f);
}

static void what_cannot_be_is_refused(void **unused) {
    (void)unused;
    static const struct {
        const char *edits, *says;
    } wrong[] = {
        {"", "expected the name of an input"},
        {"y=0", "expected the name of an input"},
        {"X=0", "expected the name of an input"},
        {"x", "expected '=' or '*='"},
        {"x=", "expected a number"},
        {"x=zero", "expected a number"},
        {"x=nan(1)", "expected a number"},
        {"x=1e999", "a number that float64 holds"},
        {"x=0 1", "expected the end of the edit"},
        {"x=0;;w1=0", "expected the name of an input"},
        {"x[", "expected an index, a slice or ..."},
        {"x[]=0", "expected an index, a slice or ..."},
        {"x[1", "expected ',' or ']'"},
        {"x[1:2:0]=0", "a step of 1 or more"},
        {"x[::-1]=0", "a step of 1 or more"},
        {"x[...,...]=0", "one ... only"},
        {"x[1,2,3,4,5]=0", "no more indices"},
        {"x[0,0,0]=0", "3 indices of x, which has 2 axes"},
        {"x[4]=0", "index 4 of axis 0 of x, which has 4 elements"},
        {"x[-5]=0", "index -5 of axis 0"},
        {"x[99999999999999999999]=0", "a whole number of 64 bits"},
        {"x=1e39", "beyond the range of bf16"},
        {"b1=0", "b1 is no input of 'M=4 topk=2 act=silu' that can be edited"},
        {"out=0", "out is no input"},
        {"numbered_ids=0", "no input"},
        {"topk_ids=8", "an expert from 0 to 7"},
        {"topk_ids=-2", "an expert from 0 to 7"},
        {"topk_ids=0.5", "an expert from 0 to 7"},
        {"topk_ids=nan", "an expert from 0 to 7"},
        {"topk_ids*=1", "an expert from 0 to 7"},
        {"topk_ids[3]=5", "token 3 has expert 5 in slots 0 and 1"},
    };
    mp_case c = mp_case_default();
    mp_error err = {0};
    assert_int_equal(mp_case_parse(&c, "M=4", &err), MP_OK);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        err.text[0] = '\0';
        const mp_status status = mp_edits_check_case(wrong[i].edits, &c, &err);
        if (status != MP_EINPUT || !strstr(err.text, wrong[i].says))
            fail_msg("'%s': %d, \"%s\" instead of \"%s\"", wrong[i].edits, status, err.text, wrong[i].says);
    }
    assert_int_equal(mp_case_parse(&c, "M=4 routing=duplicates", &err), MP_OK);
    assert_int_equal(mp_edits_check_case("topk_ids[3]=5", &c, &err), MP_OK);
    char *many = malloc(MP_EDITS_MAX + 1);
    assert_non_null(many);
    memset(many, ' ', MP_EDITS_MAX);
    many[MP_EDITS_MAX] = '\0';
    assert_int_equal(mp_edits_check(many, &err), MP_EINPUT);
    free(many);
}

/* No tokens: slices hold nothing, and an index is not there. */
static void no_tokens(void **unused) {
    (void)unused;
    mp_error err;
    fixture f = made("M=0", "x[:,3:]=1; topk_ids=0; w1[0]=0");
    assert_true(value(&f.in, MP_W1, 5) == 0);
    assert_int_equal(mp_edits_check_case("x[0]=1", &f.c, &err), MP_EINPUT);
    freed(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_are_those_of_numpy), cmocka_unit_test(values_are_rounded_once),
        cmocka_unit_test(numbered_ids_follow),        cmocka_unit_test(filtered_rows_of_cache3_are_zeros),
        cmocka_unit_test(what_cannot_be_is_refused),  cmocka_unit_test(no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
