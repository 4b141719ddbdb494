/* SPDX-License-Identifier: Apache-2.0 */
/* cases/parts.c: ranks and shards hold every weight once, and their float64 outputs sum to the whole's. */
#include "cases/parts.h"
#include "ref/engine.h"

#include "ref/pipeline.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static mp_case parse(const char *text, const char *over) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s", err.text);
    if (over && mp_case_parse(&c, over, &err) != MP_OK) fail_msg("%s: %s", over, err.text);
    return c;
}

/* out in float64, [M, width]. */
static mp_tensor exact(const mp_case *c, const mp_inputs *in) {
    mp_tensor out = mp_case_shape(c, MP_OUT, 16);
    mp_error err = {0};
    out.dtype = MP_FP64;
    assert_int_equal(mp_tensor_alloc(&out, 0, &err), MP_OK);
    if (mp_ref_exact(c, in, &mp_engine_plain, 0, c->M, &out, &err) != MP_OK) fail_msg("%s", err.text);
    return out;
}

static void expect_sum(const char *text, const char *over) {
    const mp_case whole = parse(text, NULL), part = parse(text, over);
    mp_inputs in = {0};
    mp_error err = {0};
    assert_true(mp_case_is_part(&whole, &part));
    if (mp_case_validate_pair(&whole, &part, &err) != MP_OK) fail_msg("%s: %s", over, err.text);
    assert_int_equal(mp_inputs_create(&whole, &in, &err), MP_OK);
    mp_tensor expected = exact(&whole, &in);
    const int64_t count = mp_tensor_count(&expected), slots = mp_case_slots(&whole);
    mp_tensor sum = expected, owners = mp_tensor_shape(MP_I32, 1, slots, 1, 1);
    assert_int_equal(mp_tensor_alloc(&sum, 0, &err), MP_OK);
    assert_int_equal(mp_tensor_alloc(&owners, 0, &err), MP_OK);
    for (int64_t i = 0; i < mp_case_parts(&whole, &part); i++) {
        const mp_case c = mp_case_part(&whole, &part, i);
        mp_inputs mine = {0};
        assert_int_equal(mp_case_validate(&c, &err), MP_OK);
        assert_int_equal(mp_inputs_part(&whole, &in, &part, i, &mine, &err), MP_OK);
        assert_int_equal(mp_inputs_check_ids(&c, &mine, &err), MP_OK);
        mp_tensor out = exact(&c, &mine);
        for (int64_t k = 0; k < count; k++) ((double *)sum.data)[k] += ((double *)out.data)[k];
        for (int64_t t = 0; t < slots; t++)
            ((int32_t *)owners.data)[t] += ((int32_t *)mine.t[MP_TOPK_IDS].data)[t] >= 0;
        mp_tensor_free(&out);
        mp_inputs_destroy(&mine);
    }
    for (int64_t k = 0; k < count; k++)
        if (!(fabs(((double *)sum.data)[k] - ((double *)expected.data)[k]) <= 1e-12))
            fail_msg("%s, %s: element %lld is %g instead of %g", text, over, (long long)k,
                     ((double *)sum.data)[k], ((double *)expected.data)[k]);
    const int64_t shards = whole.N / part.N;
    for (int64_t t = 0; t < slots; t++)
        assert_int_equal(((int32_t *)owners.data)[t],
                         ((int32_t *)in.t[MP_TOPK_IDS].data)[t] >= 0 ? shards : 0);
    mp_tensor_free(&owners);
    mp_tensor_free(&sum);
    mp_tensor_free(&expected);
    mp_inputs_destroy(&in);
}

static void parts_sum_to_the_whole(void **state) {
    (void)state;
    static const char *const cases[] = {"M=5 E=8 topk=3 K=40 N=24 bias=1",
                                        "M=5 E=8 topk=3 K=40 N=24 bias=1 interleaved=1 act=swiglu_oai",
                                        "M=5 E=8 topk=2 K=40 N=24 bias=1 gated=0 act=relu2 rsf=2.5",
                                        "M=5 E=8 topk=1 K=40 N=24 apply_router_weight_on_input=1 dtype=fp32",
                                        "M=9 E=8 topk=4 K=40 N=24 routing=duplicates layout=sorted",
                                        "M=5 E=8 topk=2 K=40 N=24 mode=no_combine bias=1"};
    static const char *const parts[] = {"ep_size=2 E=4",
                                        "ep_size=8 E=1",
                                        "N=8",
                                        "N=1",
                                        "ep_size=4 E=2 N=12",
                                        "ep_size=4 E=2 expert_map=linear",
                                        "ep_size=4 E=2 N=12 expert_map=round_robin"};
    for (size_t c = 0; c < COUNT(cases); c++)
        for (size_t p = 0; p < COUNT(parts); p++) expect_sum(cases[c], parts[p]);
    expect_sum("M=5 E=8 topk=2 K=40 N=24 filter=0.5 bias=1", "N=6");
}

static void names_count_from_zero(void **state) {
    (void)state;
    const mp_case whole = parse("M=5 E=8 N=24", NULL), part = parse("M=5 E=8 N=24", "ep_size=4 E=2 N=12");
    char name[MP_PART_NAME_MAX];
    assert_int_equal(mp_case_parts(&whole, &part), 8);
    mp_case_part_name(&whole, &part, 5, name);
    assert_string_equal(name, "rank 2 of 4, shard 1 of 2");
    const mp_case c = mp_case_part(&whole, &part, 5);
    assert_int_equal(c.ep_rank, 2);
}

static void what_is_no_part_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *over, *expected;
    } wrong[] = {
        {"E=8 N=24", "ep_size=4", "ep_size=4 ranks with E=8 each are not the case's E=8"},
        {"E=8 N=24", "E=4", "ep_size=1 ranks with E=4 each are not the case's E=8"},
        {"E=8 N=24", "ep_size=4 E=2 ep_rank=1", "ep_rank=1: all ranks are run"},
        {"E=8 N=24 filter=0.5", "filter=0 ep_size=4 E=2", "use ep_size=1 and filter=0"},
        {"E=8 N=24", "N=7", "N=7 is no shard of the case's N=24"},
        {"E=8 N=24", "N=48", "N=48 is no shard of the case's N=24"},
        {"E=8 N=24", "N=12 K=256", "K=256 instead of K=512 is another problem"},
        {"E=8 scope=gate_up N=24", "N=12", "use scope=all"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const mp_case whole = parse(wrong[i].text, NULL), part = parse(wrong[i].text, wrong[i].over);
        mp_error err = {0};
        assert_int_equal(mp_case_validate_pair(&whole, &part, &err), MP_EINPUT);
        if (!strstr(err.text, wrong[i].expected)) fail_msg("%s: %s", wrong[i].over, err.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_sum_to_the_whole),
        cmocka_unit_test(names_count_from_zero),
        cmocka_unit_test(what_is_no_part_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
