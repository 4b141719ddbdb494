/* SPDX-License-Identifier: Apache-2.0 */
/* harness/judge/where.c: what wrong elements have in common is named, and nothing that they have not; codes
 * are told apart as the format orders them; the earliest stage that fails is the one it begins in. */
#include "harness/answers.h"
#include "harness/judge/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { M = 6, TOPK = 2, SLOTS = M * TOPK, N = 8, BLOCK = 4, POSITIONS = 16 };

/* Expert 0 has slots 0, 2, 4, expert 1 slots 1, 6, 8, 10, expert 2 the others. In blocks of four: 0 2 4 -,
 * 1 6 8 10, 3 5 7 9, 11 - - -. */
static const int32_t ids[SLOTS] = {0, 1, 0, 2, 0, 2, 1, 2, 1, 2, 1, 2};
static int32_t sorted[POSITIONS] = {0, 2, 4, SLOTS, 1, 6, 8, 10, 3, 5, 7, 9, 11, SLOTS, SLOTS, SLOTS};
static const mp_tile tile = {.block_size_m = BLOCK, .block_size_n = 4};

static mp_case the_case(void) {
    mp_case c = mp_case_default();
    c.M = M, c.topk = TOPK, c.E = 3, c.N = N / 2, c.K = 16;
    return c;
}

static void expect(const mp_where *where, const int64_t *rows, size_t count, int64_t low, int64_t high,
                   const char *expected) {
    mp_pattern pattern;
    mp_error err = {0};
    char text[MP_WHERE_TEXT_MAX];
    assert_int_equal(mp_pattern_start(&pattern, where->rows, &err), MP_OK);
    for (size_t i = 0; i < count; i++) {
        mp_pattern_add(&pattern, rows[i], low);
        mp_pattern_add(&pattern, rows[i], high);
    }
    mp_pattern_text(where, &pattern, text);
    mp_pattern_free(&pattern);
    assert_string_equal(text, expected);
}

#define ROWS(...) (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

static void what_wrong_rows_share_is_named(void **state) {
    (void)state;
    const mp_case c = the_case();
    mp_tensor order = mp_tensor_shape(MP_I32, 2, 1, POSITIONS, 1);
    order.data = sorted;
    const mp_where where = {.c = &c,
                            .first = MP_GATE_UP,
                            .stage = MP_GATE_UP,
                            .tensor = "cache1",
                            .rows = SLOTS,
                            .width = N,
                            .topk_ids = ids,
                            .sorted_ids = &order,
                            .tile = &tile};
    expect(&where, ROWS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), 0, N - 1, "every row, every column");
    expect(&where, ROWS(5), 3, 3, "one row, column 3");
    expect(&where, ROWS(0, 2, 4), 4, 6, "expert 0 only, 3 of its 3 rows, one row block (0), columns 4..6");
    expect(&where, ROWS(3, 11), 1, 1, "expert 2 only, 2 of its 5 rows, column 1");
    expect(&where, ROWS(0, 2, 6), 0, 1, "slot 0 of its tokens only, 3 of 6 rows, columns 0..1");
    expect(&where, ROWS(2, 3, 4), 0, 1, "3 rows in a run, 2..4 of 12, columns 0..1");
    expect(&where, ROWS(0, 3, 8), 0, 1, "3 of 12 rows, columns 0..1");

    char text[MP_WHERE_TEXT_MAX];
    mp_place_text(&where, 8, 5, text);
    assert_string_equal(text, "gate_up: token 4 slot 0 column 5, expert 1, tile 1 x 1");
}

static void tokens_have_neither_slot_nor_expert(void **state) {
    (void)state;
    const mp_case c = the_case();
    const mp_where where = {.c = &c,
                            .first = MP_GATE_UP,
                            .stage = MP_COMBINE,
                            .tensor = "out",
                            .rows = M,
                            .width = N,
                            .topk_ids = ids};
    expect(&where, ROWS(0, 2), 0, N - 1, "2 of 6 rows, every column");
    char text[MP_WHERE_TEXT_MAX];
    mp_place_text(&where, 4, 7, text);
    assert_string_equal(text, "gate_up..combine: token 4 column 7"); /* a span */
}

static void codes_are_as_far_apart_as_the_format_orders_them(void **state) {
    (void)state;
    assert_int_equal(mp_ulps_between(MP_BF16, 0x3F80, 0x3F81), 1);
    assert_int_equal(mp_ulps_between(MP_BF16, 0x0000, 0x8000), 0); /* both zeros */
    assert_int_equal(mp_ulps_between(MP_BF16, 0x0001, 0x8001), 2);
    assert_int_equal(mp_ulps_between(MP_FP32, 0x7F800000, 0x7F7FFFFF), 1); /* Inf follows the largest */
    assert_true(mp_ulps_between(MP_FP16, 0x7E00, 0x3C00) == INT64_MAX);    /* NaN */
    assert_int_equal(mp_ulps_between(MP_I8, 0xFF, 0x01), 2);               /* -1 and 1 */
    assert_int_equal(mp_ulps_between(MP_U4, 0xF, 0x1), 14);
    assert_int_equal(mp_ulps_between(MP_E2M1, 0x9, 0x2), 3); /* -0.5, 0, 0.5, 1 */
    assert_int_equal(mp_ulps_between(MP_UE8M0, 0xFE, 0x7F), 127);
    assert_true(mp_ulps_between(MP_UE8M0, 0xFF, 0x7F) == INT64_MAX);
}

static void it_begins_in_the_earliest_stage(void **state) {
    (void)state;
    const mp_case c = the_case();
    mp_verdict *v = malloc(sizeof *v);
    assert_non_null(v);
    mp_verdict_init(v);
    mp_begins_conclude(v, &c);
    assert_string_equal(v->begins, "");
    mp_begins(v, MP_COMBINE, MP_COMBINE, "every row");
    mp_begins_conclude(v, &c);
    assert_string_equal(v->begins, "begins in combine: every row"); /* nothing comes later */
    mp_begins(v, MP_GATE_UP, MP_ACT, "one row");                    /* the other oracle, later */
    mp_begins(v, MP_DOWN, MP_DOWN, "two rows");
    assert_string_equal(v->begins, "begins in gate_up..act: one row");
    v->stage[MP_GATE_UP].failed = 1;
    v->stage[MP_COMBINE].mispredicted = 1; /* reported only: no check has failed for it */
    mp_begins_conclude(v, &c);
    assert_string_equal(v->begins, "begins in gate_up..act: one row; later stages follow from it");
    mp_begins(v, MP_ALIGN, MP_ALIGN, "expert_ids");
    v->stage[MP_DOWN].failed = 2;
    mp_check_fail(v, MP_CHECK_BITS, "combine");
    mp_begins_conclude(v, &c);
    assert_string_equal(v->begins,
                        "begins in align: expert_ids; wrong for themselves too: gate_up, down, combine");
    mp_verdict_free(v);
    free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_wrong_rows_share_is_named),
        cmocka_unit_test(tokens_have_neither_slot_nor_expert),
        cmocka_unit_test(codes_are_as_far_apart_as_the_format_orders_them),
        cmocka_unit_test(it_begins_in_the_earliest_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
