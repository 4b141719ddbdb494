/* SPDX-License-Identifier: Apache-2.0 */
/* harness/checks/compare.c: traces are compared slot by slot and bit by bit, whatever their layouts; what
 * nobody may write is looked after. */
#include "cases/graph_tables.h"
#include "harness/checks/compare.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CASE "M=6 E=3 topk=2 act=silu K=8 N=4 dtype=fp32 filter=0.4 seed=1 tile=16x64x64x1x4x3"
enum { M = 6, TOPK = 2, SLOTS = M * TOPK, K = 8, N = 4 };

/* The honest pipeline, in route and in sorted layout, from the same inputs. */
typedef struct fixture {
    mp_case route_case, sorted_case;
    mp_inputs in;
    mp_trace route, sorted;
    const int32_t *ids;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f) return -1;
    f->route_case = mp_case_default();
    f->sorted_case = mp_case_default();
    if (mp_case_parse(&f->route_case, CASE, NULL) ||
        mp_case_parse(&f->sorted_case, CASE " layout=sorted", NULL))
        return -1;
    if (mp_inputs_create(&f->route_case, &f->in, NULL)) return -1;
    f->ids = f->in.t[MP_TOPK_IDS].data;
    if (mp_host_run(&f->route_case, &f->in, 16, MP_POISON_A, &f->route, NULL)) return -1;
    return (int)mp_host_run(&f->sorted_case, &f->in, 16, MP_POISON_B, &f->sorted, NULL);
}

static int tear_down(void **state) {
    fixture *f = *state;
    mp_trace_destroy(&f->route);
    mp_trace_destroy(&f->sorted);
    mp_inputs_destroy(&f->in);
    free(f);
    return 0;
}

static mp_comparison compare(const fixture *f, const int64_t *token_a, const int64_t *token_b, int64_t tokens,
                             const int32_t *ids, bool align) {
    const mp_contract contract = mp_host_contract(&f->route_case);
    const mp_side a = {&f->route_case, &contract, &f->route, token_a},
                  b = {&f->sorted_case, &contract, &f->sorted, token_b};
    mp_comparison figures = {0};
    mp_error err = {0};
    assert_int_equal(mp_compare(&a, &b, tokens, ids, align, &figures, &err), MP_OK);
    assert_int_equal(figures.bits_equal, figures.differing == 0);
    return figures;
}

/* The trace with digests of its rows; `alone`: without the numbers. The caller frees the digests. */
static mp_trace with_digests(const mp_trace *trace, bool alone) {
    mp_trace marked = *trace;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        mp_tensor *t = &marked.t[id];
        if (!t->data || mp_tensors[id].rows == MP_ROWS_CHUNK) continue;
        marked.row_digest[id] = malloc((size_t)mp_tensor_rows(t) * sizeof(uint64_t));
        assert_non_null(marked.row_digest[id]);
        const mp_rows_region rows = {t->data, mp_tensor_row_bytes(t), mp_tensor_rows(t),
                                     marked.row_digest[id]};
        assert_int_equal(mp_host_space.digest_rows(NULL, &rows, 1, NULL), MP_OK);
        if (alone) t->data = NULL;
    }
    return marked;
}

static void free_digests(mp_trace *marked) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) free(marked->row_digest[id]);
}

static int64_t slot_with(const fixture *f, bool filtered) {
    for (int64_t t = 0; t < SLOTS; t++)
        if ((f->ids[t] < 0) == filtered) return t;
    fail_msg("no such slot");
    return -1;
}

static int64_t sorted_row(const fixture *f, int64_t slot) {
    int64_t rows[SLOTS];
    mp_trace_slot_rows(&f->sorted_case, f->sorted.t, rows);
    return rows[slot];
}

static float *cache1_of(const mp_trace *trace, int64_t row) {
    return mp_tensor_row(&trace->t[MP_CACHE1], row);
}

static void layouts_are_compared_by_slot(void **state) {
    const fixture *f = *state;
    int64_t valid = 0;
    for (int64_t t = 0; t < SLOTS; t++) valid += f->ids[t] >= 0;
    assert_in_range(valid, 1, SLOTS - 1);
    const mp_comparison figures = compare(f, NULL, NULL, M, f->ids, false);
    assert_true(figures.bits_equal);
    assert_int_equal(figures.compared, SLOTS * 2 * N + valid * N + SLOTS * K +
                                           M * K); /* cache1, cache2 of valid slots, cache3, out */
    assert_true(figures.max_abs == 0);
    assert_string_equal(figures.first, "");
}

static void one_bit_is_found(void **state) {
    const fixture *f = *state;
    const int64_t slot = slot_with(f, false);
    uint32_t *bits = (uint32_t *)(void *)cache1_of(&f->sorted, sorted_row(f, slot));
    bits[3] ^= 1;
    const mp_comparison figures = compare(f, NULL, NULL, M, f->ids, false);
    assert_int_equal(figures.differing, 1);
    assert_true(figures.max_abs > 0 && figures.max_abs < 1e-5);
    char place[64];
    snprintf(place, sizeof place,
             "gate_up: token %lld slot %lld column 3, expert %d: ", (long long)(slot / TOPK),
             (long long)(slot % TOPK), f->ids[slot]);
    assert_memory_equal(figures.first, place, strlen(place)); /* the place is side a's */
    assert_non_null(strstr(figures.first, "differ, by at most 1 ulp: one row, column 3"));
}

/* Values that a numeric comparison would take for equal, or for equally NaN. */
static void bits_decide(void **state) {
    const fixture *f = *state;
    float *a = f->route.t[MP_OUT].data, *b = f->sorted.t[MP_OUT].data;
    a[0] = 0.0f;
    b[0] = -0.0f;
    mp_comparison figures = compare(f, NULL, NULL, M, f->ids, false);
    assert_int_equal(figures.differing, 1);
    assert_true(figures.max_abs == 0);
    memcpy(&a[1], &(uint32_t){0x7FC00000}, 4);
    memcpy(&b[1], &(uint32_t){0x7FC00001}, 4);
    a[2] = b[2] + 1000; /* a larger number behind the NaN */
    figures = compare(f, NULL, NULL, M, f->ids, false);
    assert_int_equal(figures.differing, 3);
    assert_true(isnan(figures.max_abs));
    a[1] = b[1];
    memcpy(&a[1], &b[1], 4);
    assert_int_equal(compare(f, NULL, NULL, M, f->ids, false).differing, 2);
}

/* Padding rows, and cache2 rows of filtered slots, hold different poisons in the two traces: they are
 * nobody's business here. */
static void unused_rows_do_not_count(void **state) {
    const fixture *f = *state;
    const int64_t slot = slot_with(f, true), last = f->sorted.t[MP_CACHE1].dim[0] - 1;
    cache1_of(&f->sorted, last)[0] = 5;
    ((float *)mp_tensor_row(&f->route.t[MP_CACHE2], slot))[0] = 5;
    assert_true(compare(f, NULL, NULL, M, f->ids, false).bits_equal);
    cache1_of(&f->route, slot)[0] = 5; /* but cache1 of a filtered slot is defined: zero */
    assert_int_equal(compare(f, NULL, NULL, M, f->ids, false).differing, 1);
}

/* Tokens in another order, alone, or some of them, on either side. */
static void tokens_are_mapped(void **state) {
    const fixture *f = *state;
    static const int64_t order[] = {4, 0, 3};
    int32_t ids[3 * TOPK];
    for (int i = 0; i < 3 * TOPK; i++) ids[i] = f->ids[order[i / TOPK] * TOPK + i % TOPK];
    assert_true(compare(f, order, order, 3, ids, false).bits_equal);
    assert_false(compare(f, order, NULL, 3, ids, false).bits_equal);
    ((float *)f->sorted.t[MP_OUT].data)[1 * K] += 1; /* token 1 is not among them */
    assert_true(compare(f, order, order, 3, ids, false).bits_equal);
    ((float *)f->sorted.t[MP_OUT].data)[3 * K] += 1;
    assert_int_equal(compare(f, order, order, 3, ids, false).differing, 1);
}

/* A few tokens run as a batch of their own, against the same tokens of the whole batch: only one side
 * maps. */
static void a_batch_of_some_tokens_is_compared(void **state) {
    const fixture *f = *state;
    static const int64_t order[] = {4, 0, 3};
    mp_inputs in;
    mp_trace alone;
    mp_case c = f->sorted_case;
    mp_comparison figures = {0};
    c.M = 3;
    assert_int_equal(mp_inputs_select(&f->sorted_case, &f->in, order, 3, &in, NULL), MP_OK);
    assert_int_equal(mp_host_run(&c, &in, 16, MP_POISON_A, &alone, NULL), MP_OK);
    const mp_contract contract = mp_host_contract(&c);
    const mp_side whole = {&f->route_case, &contract, &f->route, order}, part = {&c, &contract, &alone, NULL};
    assert_int_equal(mp_compare(&whole, &part, 3, in.t[MP_TOPK_IDS].data, false, &figures, NULL), MP_OK);
    assert_string_equal(figures.first, "");
    assert_true(figures.bits_equal);
    mp_trace_destroy(&alone);
    mp_inputs_destroy(&in);
}

static void align_is_compared_when_asked(void **state) {
    const fixture *f = *state;
    int32_t *experts = f->sorted.t[MP_EXPERT_IDS].data;
    experts[0] += 1;
    assert_true(compare(f, NULL, NULL, M, f->ids, false).bits_equal);
    assert_int_equal(compare(f, NULL, NULL, M, f->ids, true).differing, 1);
}

static void a_lost_slot_is_a_difference(void **state) {
    const fixture *f = *state;
    int32_t *sorted = f->sorted.t[MP_SORTED_TOKEN_IDS].data;
    sorted[sorted_row(f, slot_with(f, false))] = SLOTS;
    const mp_comparison figures = compare(f, NULL, NULL, M, f->ids, false);
    assert_int_equal(figures.differing, 2); /* cache1 and cache2 */
    assert_string_equal(figures.first, "cache1: a slot has no row");
}

static bool intact(const fixture *f, bool sorted, char text[200]) {
    const mp_case *c = sorted ? &f->sorted_case : &f->route_case;
    const mp_contract contract = mp_host_contract(c);
    return mp_resultless_rows_kept(c, &contract, &f->in, sorted ? &f->sorted : &f->route,
                                   sorted ? MP_POISON_B : MP_POISON_A, text, 200);
}

static void what_must_not_be_written_is_guarded(void **state) {
    const fixture *f = *state;
    char text[200] = "";
    assert_true(intact(f, false, text));
    assert_true(intact(f, true, text));
    const mp_tensor *cache2 = &f->route.t[MP_CACHE2];
    float *row = mp_tensor_row(cache2, slot_with(f, true));
    const float old = row[N - 1];
    row[N - 1] = 0;
    assert_false(intact(f, false, text));
    assert_non_null(strstr(text, "act: "));
    assert_non_null(strstr(text, "filtered slot"));
    row[N - 1] = old;
    static const mp_tensor_id caches[] = {MP_CACHE1, MP_CACHE2};
    for (size_t i = 0; i < 2; i++) {
        const mp_tensor *t = &f->sorted.t[caches[i]];
        uint32_t *last = mp_tensor_row(t, t->dim[0] - 1);
        last[0] ^= 1;
        assert_false(intact(f, true, text));
        assert_non_null(strstr(text, "padding row"));
        last[0] ^= 1;
    }
    assert_true(intact(f, true, text));
}

/* Of the numbers nothing is needed where the digests of rows are equal, and nothing is found by digests that
 * the numbers do not show; nor is anything missed. */
static void digests_say_what_the_numbers_say(void **state) {
    const fixture *f = *state;
    const mp_contract contract = mp_host_contract(&f->route_case);
    mp_trace a = with_digests(&f->route, false);
    const mp_side first = {&f->route_case, &contract, &a, NULL};
    int equal = 0, different = 0, kept = 0, written = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &f->sorted.t[id];
        if (!t->data || mp_tensors[id].rows == MP_ROWS_CHUNK) continue;
        for (int64_t row = -1; row < mp_tensor_rows(t); row++) {
            unsigned char *byte = (unsigned char *)t->data + (row + 1) * (int64_t)mp_tensor_row_bytes(t) - 1;
            if (row >= 0) *byte ^= 0x10;
            mp_trace b = with_digests(&f->sorted, true);
            const mp_side again = {&f->sorted_case, &contract, &b, NULL};
            const mp_comparison numbers = compare(f, NULL, NULL, M, f->ids, false);
            mp_comparison digests = {0};
            char text[200], by_digests[200];
            assert_int_equal(mp_compare(&first, &again, M, f->ids, false, &digests, NULL), MP_OK);
            assert_int_equal(digests.undecided, !numbers.bits_equal);
            if (!digests.undecided) {
                assert_true(digests.bits_equal);
                assert_int_equal(digests.compared, numbers.compared);
                assert_true(digests.max_abs == 0);
            }
            *(digests.undecided ? &different : &equal) += 1;
            const bool rows = mp_resultless_rows_kept(&f->sorted_case, &contract, &f->in, &f->sorted,
                                                      MP_POISON_B, text, sizeof text);
            assert_int_equal(mp_resultless_rows_kept(&f->sorted_case, &contract, &f->in, &b, MP_POISON_B,
                                                     by_digests, sizeof by_digests),
                             rows);
            if (!rows) assert_string_equal(by_digests, text);
            *(rows ? &kept : &written) += 1;
            free_digests(&b);
            if (row >= 0) *byte ^= 0x10;
        }
    }
    free_digests(&a);
    assert_true(equal > 4 && different > 4 && kept > 4 && written > 4);
}

/* Digests alone, and no numbers to come: a row that differs does, but where one side's output is a sum and
 * the other's a row as it is. There it may differ in signs of zeros alone, and nothing is known of it. */
static void rows_that_may_differ_in_zeros_alone_are_open(void **state) {
    (void)state;
    static const char *const paths[] = {"fused", "chunked"};
    mp_case c[2];
    mp_inputs in;
    mp_trace trace[2], again[2];
    for (int i = 0; i < 2; i++) {
        c[i] = mp_case_default();
        assert_int_equal(mp_case_parse(&c[i], "M=6 E=3 topk=1 act=silu K=8 N=4", NULL), MP_OK);
        assert_int_equal(mp_case_set(&c[i], "path", paths[i], NULL), MP_OK);
        if (i == 0) assert_int_equal(mp_inputs_create(&c[0], &in, NULL), MP_OK);
        assert_int_equal(mp_host_run(&c[i], &in, 16, MP_POISON_A, &trace[i], NULL), MP_OK);
        again[i] = with_digests(&trace[i], true);
    }
    assert_false(mp_case_has_stage(&c[0], MP_COMBINE));
    mp_trace first = with_digests(&trace[0], true);
    const mp_contract contract = mp_host_contract(&c[0]);
    const mp_side a = {&c[0], &contract, &first, NULL};
    for (int rows = 0; rows <= 2; rows++) { /* of the first run, that are others now */
        if (rows > 0) first.row_digest[MP_OUT][2 * rows - 1] ^= 1;
        for (int path = 0; path < 2; path++) {
            const mp_side b = {&c[path], &contract, &again[path], NULL};
            mp_comparison found = {.numbers_gone = true};
            assert_int_equal(mp_compare(&a, &b, M, in.t[MP_TOPK_IDS].data, false, &found, NULL), MP_OK);
            assert_int_equal(found.rows_open, path ? rows : 0);
            assert_int_equal(found.rows_alone, path ? 0 : rows);
            assert_int_equal(found.differing, found.rows_alone);
            assert_int_equal(found.bits_equal, rows == 0);
            assert_int_equal(found.compared, M * (3 * N + K) - found.rows_open * K);
        }
    }
    for (int i = 0; i < 2; i++) {
        free_digests(&again[i]);
        mp_trace_destroy(&trace[i]);
    }
    free_digests(&first);
    mp_inputs_destroy(&in);
}

/* Rows of codes begin on any byte of the pattern that nobody wrote over. */
static void rows_of_bytes_begin_anywhere(void **state) {
    (void)state;
    mp_case c = mp_case_default();
    mp_inputs in;
    mp_trace trace;
    char text[200];
    int filtered = 0;
    assert_int_equal(
        mp_case_parse(&c, "M=6 E=3 topk=2 K=48 N=35 act=silu filter=0.4 quant=fp8-channel", NULL), MP_OK);
    const mp_contract contract = mp_host_contract(&c);
    assert_int_equal(mp_inputs_create(&c, &in, NULL), MP_OK);
    assert_int_equal(mp_host_run(&c, &in, 16, MP_POISON_A, &trace, NULL), MP_OK);
    const int32_t *ids = in.t[MP_TOPK_IDS].data;
    for (int64_t slot = -1; slot < mp_case_slots(&c); slot++) {
        if (slot >= 0 && ids[slot] >= 0) continue;
        unsigned char *last = (unsigned char *)trace.t[MP_CACHE2_CODES].data + (slot + 1) * c.N - 1;
        if (slot >= 0) *last ^= 1;
        for (int alone = 0; alone < 2; alone++) {
            mp_trace marked = with_digests(&trace, alone);
            assert_int_equal(
                mp_resultless_rows_kept(&c, &contract, &in, &marked, MP_POISON_A, text, sizeof text),
                slot < 0);
            free_digests(&marked);
        }
        if (slot >= 0) *last ^= 1;
        filtered += slot >= 0;
    }
    assert_true(filtered > 2);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(layouts_are_compared_by_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_bit_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bits_decide, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unused_rows_do_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokens_are_mapped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_of_some_tokens_is_compared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(align_is_compared_when_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_slot_is_a_difference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_must_not_be_written_is_guarded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(digests_say_what_the_numbers_say, set_up, tear_down),
        cmocka_unit_test(rows_that_may_differ_in_zeros_alone_are_open),
        cmocka_unit_test(rows_of_bytes_begin_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
