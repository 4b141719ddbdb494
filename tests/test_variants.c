/* SPDX-License-Identifier: Apache-2.0 */
/* Where two kernels may differ, the contract can say so, and nothing alarms: every variant passes every row
 * of the stock matrices that it can run, and beside each a wrong one fails under the same contract.
 *
 * With MOEPARITY_TEST_ALL=1 each variant runs through all rows, which takes half an hour; without it through
 * every SPARSE-th of those up to MANY_SLOTS slots, others for its neighbour. An argument picks variants
 * by name. */
#include "cases/case_tools.h"
#include "moeparity/run_case.h"
#include "tests/variants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { MANY_SLOTS = 4096, FEW_SLOTS = 256, SPARSE = 24 };

static mp_verdict verdict; /* large */
static mp_matrix stock;
static const char *only = ""; /* variants in whose names it occurs */

static int load(void **state) {
    (void)state;
    static const char *const files[] = {"options.yaml", "edge.yaml", "seed.yaml", "tiles.yaml"};
    mp_error err = {0};
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[512];
        snprintf(path, sizeof path, MP_MATRIX_FOLDER "/%s", files[i]);
        if (mp_matrix_load(&stock, path, &err) != MP_OK) return -1;
    }
    return mp_matrix_select(&stock, MP_CI, NULL, &err) == MP_OK ? 0 : -1;
}

static int unload(void **state) {
    (void)state;
    mp_matrix_free(&stock);
    mp_verdict_free(&verdict);
    return 0;
}

static const mp_verdict *judge(void (*plant)(const faulty_run *run), const char *contract,
                               mp_tensor_set exposes, const mp_matrix_row *row) {
    const fault f = {.plant = plant};
    mp_subject subject = faulty_open_under(&f, contract, exposes), host;
    assert_int_equal(mp_subject_open("host", &host, NULL), MP_OK);
    const mp_run_options options = {.subject = &subject, .against = &host};
    mp_verdict_free(&verdict);
    mp_run_case(row, &options, &verdict);
    mp_subject_close(&subject);
    mp_subject_close(&host);
    return &verdict;
}

/* A run with other bits than the host's. Where a plant changed anything at all is counted apart: rows without
 * a result are not compared. */
static bool differs(const mp_verdict *v) {
    return v->pair_count > 0 && v->pair[v->pair_count - 1].differing > 0;
}

/* A SKIP is right where the contract leaves no bound, and nowhere else. */
static bool is_silent(const mp_verdict *v) {
    return v->outcome == MP_PASS || (v->outcome == MP_SKIP && strstr(v->reason, "no bound can be had"));
}

static void right_variants_pass_every_stock_row(void **state) {
    (void)state;
    const bool all = getenv("MOEPARITY_TEST_ALL") != NULL;
    int alarms = 0;
    print_message("%-36s %6s %6s %6s\n", "variant", "passed", "none", "differ");
    for (size_t i = 0; i < variant_count; i++) {
        const variant *w = &variants[i];
        int passed = 0, boundless = 0, other = 0;
        if (w->wrong_contract || !strstr(w->name, only)) continue; /* of a variant that had its turn */
        for (size_t r = 0; r < stock.count; r++) {
            const mp_matrix_row *row = &stock.rows[r];
            if (w->unfused && row->c.fused_sum) continue;
            if (row->c.M == 0) continue; /* nothing that could be other */
            if (!all && (r % SPARSE != i % SPARSE || mp_case_slots(&row->c) > MANY_SLOTS)) continue;
            const int64_t before = faulty_changes;
            const mp_verdict *v = judge(w->right, w->contract, 0, row);
            passed += v->outcome == MP_PASS;
            boundless += v->outcome == MP_SKIP;
            other += differs(v) || faulty_changes > before;
            if (is_silent(v)) continue;
            alarms++;
            print_message("%s: %s: %s %s\n", w->name, v->name, mp_outcome_name(v->outcome), v->reason);
        }
        print_message("%-36s %6d %6d %6d\n", w->name, passed, boundless, other);
        if (all && other == 0) fail_msg("%s: no stock row shows it", w->name);
    }
    assert_int_equal(alarms, 0);
}

/* Nothing alarms either where a variant shows less. Of all rows every seventh, another seventh for each, and
 * where what lies between may overflow each of them; else a sample, of up to FEW_SLOTS slots. */
static void right_variants_pass_whatever_they_expose(void **state) {
    (void)state;
    static const mp_tensor_set exposures[] = {MP_IN_SET(MP_OUT), MP_IN_SET(MP_CACHE1) | MP_IN_SET(MP_OUT),
                                              MP_IN_SET(MP_CACHE2) | MP_IN_SET(MP_OUT)};
    const bool all = getenv("MOEPARITY_TEST_ALL") != NULL;
    int alarms = 0, rows = 0, boundless = 0;
    for (size_t i = 0; i < variant_count; i++) {
        const variant *w = &variants[i];
        if (w->wrong_contract || !strstr(w->name, only)) continue;
        const size_t step = all ? (strstr(w->contract, "overflow") ? 1 : 7) : SPARSE;
        for (size_t r = i % step; r < stock.count; r += step) {
            const mp_matrix_row *row = &stock.rows[r];
            const int64_t slots = mp_case_slots(&row->c), most = all ? MANY_SLOTS / 8 : FEW_SLOTS;
            if (row->c.scope != MP_SCOPE_ALL || slots == 0 || slots > most ||
                (w->unfused && row->c.fused_sum))
                continue;
            const mp_verdict *v = judge(w->right, w->contract, exposures[r / step % COUNT(exposures)], row);
            rows++;
            boundless += v->outcome == MP_SKIP;
            if (is_silent(v)) continue;
            alarms++;
            print_message("%s: %s: %s %s\n", w->name, v->name, mp_outcome_name(v->outcome), v->reason);
        }
    }
    print_message("%d rows, %d without a bound\n", rows, boundless);
    assert_int_equal(alarms, 0);
}

static bool is_stock(const mp_case *c) {
    for (size_t r = 0; r < stock.count; r++)
        if (mp_case_compare(&stock.rows[r].c, c) == 0) return true;
    return false;
}

static void wrong_variants_fail_in_stock_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < variant_count; i++) {
        const variant *w = &variants[i];
        mp_matrix matrix = {0};
        mp_error err = {0};
        if (mp_matrix_add(&matrix, w->case_text, NULL, 0, &err) != MP_OK) fail_msg("%s", err.text);
        if (!is_stock(&matrix.rows[0].c)) fail_msg("%s: %s is no stock row", w->name, w->case_text);
        const mp_verdict *v =
            judge(w->wrong, w->wrong_contract ? w->wrong_contract : w->contract, 0, &matrix.rows[0]);
        print_message("%-36s %s: %.100s\n", w->name, mp_outcome_name(v->outcome), v->reason);
        if (v->outcome != MP_FAIL)
            fail_msg("%s: the wrong one gets %s", w->name, mp_outcome_name(v->outcome));
        for (int c = 0; c < MP_CHECK_COUNT; c++)
            if (w->checks & (1u << c) && v->check[c].answer != MP_FAILED)
                fail_msg("%s: %s did not fail; the reason is %s", w->name, mp_check_name((mp_check)c),
                         v->reason);
        if (w->stage != NO_STAGE && !strstr(v->reason, mp_stage_name((mp_stage)w->stage)))
            fail_msg("%s: %s is not blamed: %s", w->name, mp_stage_name((mp_stage)w->stage), v->reason);
        v = judge(w->right, w->contract, 0, &matrix.rows[0]);
        if (v->outcome != MP_PASS)
            fail_msg("%s: the right one gets %s: %s", w->name, mp_outcome_name(v->outcome), v->reason);
        mp_matrix_free(&matrix);
    }
}

/* What a store that saturates leaves is predicted, and Inf in its place has other bits. */
static void bits_of_saturated_stores_are_predicted(void **state) {
    (void)state;
    static const char contract[] = "store.overflow=saturate gate_up.bits=required act.bits=required "
                                   "down.bits=required combine.bits=required";
    size_t i = 0;
    while (strcmp(variants[i].name, "stores saturate") != 0) i++;
    mp_matrix matrix = {0};
    assert_int_equal(mp_matrix_add(&matrix, variants[i].case_text, NULL, 0, NULL), MP_OK);
    const mp_verdict *v = judge(NULL, contract, 0, &matrix.rows[0]);
    if (v->outcome != MP_PASS) fail_msg("%s", v->reason);
    assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_PASSED);
    assert_int_equal(v->stage[MP_COMBINE].predicted, 33 * 96);
    v = judge(variants[i].wrong, contract, 0, &matrix.rows[0]);
    assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_FAILED);
    assert_non_null(strstr(v->check[MP_CHECK_BITS].text, "combine: "));
    mp_matrix_free(&matrix);
}

/* A kernel that does gate_up and act shows no cache1: what it rounds between them is seen in its bits, and,
 * where it rounds what the contract does not, by the bound as well. */
static void what_is_not_stored_is_told_by_bits(void **state) {
    (void)state;
    static const char bits[] = " gate_up.bits=required act.bits=required";
    static const char *const inputs[] = {"act.input=stored", "act.input=float32"};
    static const struct {
        const char *text;
        int64_t predicted;
    } cases[] = {{"M=33 topk=2 K=96 N=64 act=silu bias=1", 33 * 2 * 64},
                 {"M=33 topk=2 K=96 N=64 act=swiglu_oai interleaved=1 bias=1", 33 * 2 * 64},
                 {"M=33 topk=2 K=96 N=64 dtype=fp16 act=silu layout=sorted", 33 * 2 * 64}};
    static const mp_tensor_set exposed = MP_IN_SET(MP_SORTED_TOKEN_IDS) | MP_IN_SET(MP_EXPERT_IDS) |
                                         MP_IN_SET(MP_NUM_TOKENS_POST_PADDED) | MP_IN_SET(MP_CACHE2) |
                                         MP_IN_SET(MP_CACHE3) | MP_IN_SET(MP_OUT);
    size_t i = 0;
    while (strcmp(variants[i].name, "gate and up are not stored, untold") != 0) i++;
    for (size_t r = 0; r < COUNT(cases); r++)
        for (int promised = 0; promised < 2; promised++)
            for (int done = 0; done < 2; done++) {
                mp_matrix matrix = {0};
                char contract[128];
                snprintf(contract, sizeof contract, "%s%s", inputs[promised], bits);
                assert_int_equal(mp_matrix_add(&matrix, cases[r].text, NULL, 0, NULL), MP_OK);
                const mp_verdict *v = judge(done ? variants[i].wrong : variants[i - 1].wrong, contract,
                                            exposed, &matrix.rows[0]);
                print_message("%s, done %s: %s %.90s\n", inputs[promised], inputs[done],
                              mp_outcome_name(v->outcome), v->reason);
                assert_int_equal(v->stage[MP_ACT].predicted, cases[r].predicted);
                assert_int_equal(v->outcome, promised == done ? MP_PASS : MP_FAIL);
                assert_int_equal(v->check[MP_CHECK_BITS].answer, promised == done ? MP_PASSED : MP_FAILED);
                if (promised != done) assert_non_null(strstr(v->check[MP_CHECK_BITS].text, "gate_up..act: "));
                if (promised && !done) assert_int_equal(v->check[MP_CHECK_BOUND].answer, MP_FAILED);
                mp_matrix_free(&matrix);
            }
}

int main(int argc, char **argv) {
    if (argc > 1) only = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_variants_fail_in_stock_rows),
        cmocka_unit_test(bits_of_saturated_stores_are_predicted),
        cmocka_unit_test(what_is_not_stored_is_told_by_bits),
        cmocka_unit_test(right_variants_pass_whatever_they_expose),
        cmocka_unit_test(right_variants_pass_every_stock_row),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
