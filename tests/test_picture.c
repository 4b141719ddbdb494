/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of stages: levels, the order of the rows, what a run with a fault leaves in them, their JSON. */
#include "harness/picture.h"
#include "harness/verdict_json.h"
#include "moeparity/run_case.h"
#include "tests/faulty.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LAST = MP_LEVELS - 1 };
static mp_error err;

static void levels(void **state) {
    (void)state;
    assert_int_equal(mp_level(0), 0);
    assert_int_equal(mp_level(-0.0), 0);
    assert_int_equal(mp_level(5e-324), 1);
    for (int level = 1; level < LAST; level++) {
        const double top = mp_level_top(level), below = mp_level_top(level - 1);
        assert_true(top > below);
        assert_int_equal(mp_level(top), level); /* the top belongs to it, the next number does not */
        assert_int_equal(mp_level(nextafter(top, INFINITY)), level + 1);
    }
    assert_true(mp_level_top(mp_level(1)) == 1 && mp_level_top(mp_level(1.2)) == 1.5);
    assert_true(mp_level_top(1) == 0x1p-8 && mp_level_top(LAST - 1) == 0x1p16);
    assert_int_equal(mp_level((double)INFINITY), LAST);
    assert_int_equal(mp_level((double)NAN), LAST);
}

static void rows_are_sorted_by_expert(void **state) {
    (void)state;
    static const int32_t expert[] = {7, 2, -1, 7, 2, 0};
    static const unsigned char place[] = {3, 1, 255, 4, 2, 0};
    mp_picture *p;
    assert_int_equal(mp_picture_create(6, 10, expert, &p, &err), MP_OK);
    assert_int_equal(p->rows, 5);
    assert_int_equal(p->row_cells, 5);
    assert_memory_equal(p->cell_of_row, place, sizeof place);
    assert_int_equal(p->expert_count, 3);
    assert_true(p->experts[1].expert == 2 && p->experts[1].rows == 2);
    mp_picture_mark(p, MP_PICTURE_RATIO, 2, 0, 9); /* nowhere */
    mp_picture_mark(p, MP_PICTURE_RATIO, 3, 9, 4);
    mp_picture_mark(p, MP_PICTURE_RATIO, 3, 9, 3); /* the larger one stays */
    assert_int_equal(p->cell[MP_PICTURE_RATIO][4][9], 5);
    mp_picture_free(p);
    assert_int_equal(mp_picture_create(1000, 100, NULL, &p, &err), MP_OK);
    assert_true(p->row_cells == 64 && p->cell_of_row[999] == 63 && p->cell_of_row[16] == 1);
    assert_true(p->cell_of_column[99] == 63 && p->cell_of_column[1] == 0 && p->cell_of_column[2] == 1);
    mp_picture_free(p);
    assert_int_equal(mp_picture_create(0, 8, expert, &p, &err), MP_OK);
    mp_picture_free(p);
}

/* Fewer cells, each the largest of those that it is made of; where something fails all stay. */
static void a_clean_picture_is_told_in_fewer_cells(void **state) {
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        mp_picture *p;
        assert_int_equal(mp_picture_create(50, 200, NULL, &p, &err), MP_OK);
        for (int row = 0; row < 50; row++)
            for (int column = 0; column < 200; column++)
                mp_picture_mark(p, MP_PICTURE_RATIO, row, column, (row * 7 + column * 3) % 17);
        p->count[MP_HISTOGRAM_RATIO][mp_level(1)] = 10000 - fails;
        p->count[MP_HISTOGRAM_RATIO][mp_level(1.01)] = fails;
        mp_picture_settle(p);
        assert_true(p->row_cells == (fails ? 50 : 32) && p->column_cells == (fails ? 64 : 32));
        int want[MP_PICTURE_SIDE][MP_PICTURE_SIDE] = {0};
        for (int row = 0; row < 50; row++)
            for (int column = 0; column < 200; column++) {
                int *cell = &want[row * p->row_cells / 50][column * p->column_cells / 200];
                const int level = (row * 7 + column * 3) % 17;
                if (level + 1 > *cell) *cell = level + 1;
            }
        for (int i = 0; i < p->row_cells; i++)
            for (int n = 0; n < p->column_cells; n++)
                assert_int_equal(p->cell[MP_PICTURE_RATIO][i][n], want[i][n]);
        mp_picture_free(p);
    }
}

/* Of one slot of expert 3 columns 40..49 of cache2 are doubled, and one is a NaN. */
static const int SLOT_EXPERT = 3;
static void double_some(const faulty_run *run) {
    mp_tensor *cache2 = &run->trace->t[MP_CACHE2];
    const int32_t *ids = ids_of(run);
    int64_t slot = 0;
    while (slot < run->c->M * run->c->topk && ids[slot] != SLOT_EXPERT) slot++;
    if (slot == run->c->M * run->c->topk) return; /* a smaller batch, without it */
    for (int64_t n = 40; n < 50; n++) {
        const int64_t at = slot * cache2->dim[1] + n;
        mp_encode(cache2->dtype, cache2->data, at, 2 * mp_decode(cache2->dtype, cache2->data, at) + 0.5);
        if (n == 45) mp_encode(cache2->dtype, cache2->data, at, (double)NAN);
    }
    redo_from(run, MP_DOWN);
}

static int64_t sum_of(const int64_t count[MP_LEVELS], int first) {
    int64_t sum = 0;
    for (int level = first; level < MP_LEVELS; level++) sum += count[level];
    return sum;
}

static void a_fault_is_seen_where_it_is(void **state) {
    (void)state;
    const fault f = {
        "doubled", double_some, "M=24 topk=2 act=silu E=8 K=64 N=128", NULL, CHECK(BOUND) | CHECK(BITS),
        MP_ACT};
    mp_matrix matrix = {0};
    mp_verdict v;
    assert_int_equal(mp_matrix_add(&matrix, f.case_text, NULL, 0, &err), MP_OK);
    mp_subject subject = faulty_open(&f);
    const mp_run_options options = {.subject = &subject, .settings = {.plain = true, .figures = true}};
    mp_run_case(&matrix.rows[0], &options, &v);
    assert_int_equal(v.outcome, MP_FAIL);
    assert_null(v.picture[MP_ALIGN]);
    for (int s = MP_GATE_UP; s < MP_STAGE_COUNT; s++) {
        const mp_picture *p = v.picture[s];
        const mp_stage_figures *of = &v.stage[s];
        if (!mp_case_has_stage(&matrix.rows[0].c, (mp_stage)s)) continue;
        assert_non_null(p);
        assert_int_equal(sum_of(p->count[MP_HISTOGRAM_RATIO], 0), of->compared);
        assert_int_equal(sum_of(p->count[MP_HISTOGRAM_ULPS], 0), of->compared);
        assert_int_equal(sum_of(p->count[MP_HISTOGRAM_RATIO], mp_level(1) + 1), of->failed);
        if (of->predicted == 0) fail_msg("stage %d: %s; %s", s, v.check[MP_CHECK_BITS].text, v.contract);
        assert_int_equal(sum_of(p->count[MP_HISTOGRAM_STEPS], 0), of->predicted);
        assert_int_equal(sum_of(p->count[MP_HISTOGRAM_STEPS], 1), of->mispredicted);
        int worst = 0;
        for (int level = 0; level < MP_LEVELS; level++)
            if (p->count[MP_HISTOGRAM_ULPS][level] > 0) worst = level;
        if (s != MP_ACT) assert_int_equal(worst, mp_level(of->max_error_ulps));
    }
    const mp_picture *act = v.picture[MP_ACT];
    int64_t first = 0;
    int i = 0;
    for (; act->experts[i].expert != SLOT_EXPERT; i++) first += act->experts[i].rows;
    assert_true(act->rows == 48 && act->row_cells == 48 && act->column_cells == 64);
    for (int row = 0; row < 48; row++)
        for (int column = 0; column < 64; column++) {
            const bool bad = row == first && column >= 20 && column < 25; /* two columns a cell */
            assert_int_equal(act->cell[MP_PICTURE_RATIO][row][column] > mp_level(1) + 1, bad);
            assert_int_equal(act->cell[MP_PICTURE_STEPS][row][column] > 1, bad);
            assert_int_equal(act->cell[MP_PICTURE_RATIO][row][column] == LAST + 1, bad && column == 22);
        }
    assert_true(v.picture[MP_GATE_UP]->tile_rows > 0 && v.picture[MP_GATE_UP]->tile_columns > 0);
    json_t *json = mp_verdict_to_json(&v); /* all of it goes through the pipe of a worker */
    mp_verdict again;
    assert_int_equal(mp_verdict_from_json(json, &again, &err), MP_OK);
    json_t *twice = mp_verdict_to_json(&again);
    assert_true(json_equal(json, twice));
    assert_memory_equal(again.picture[MP_ACT]->cell, act->cell, sizeof act->cell);
    json_decref(json);
    json_decref(twice);
    mp_verdict_free(&again);
    mp_verdict_free(&v);

    const mp_run_options plain = {.subject = &subject, .settings = {.plain = true}};
    mp_run_case(&matrix.rows[0], &plain, &v); /* nobody asked */
    for (int s = 0; s < MP_STAGE_COUNT; s++) assert_null(v.picture[s]);
    mp_verdict_free(&v);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
}

static void refused(const char *changed, const char *message) {
    static const char whole[] =
        "{\"histograms\": {\"ratio\": {\".\": 3, \"Q\": 5}, \"ulps\": {}, \"steps\": {}}, \"shape\": [4, 2], "
        "\"cells\": [2, 2], \"tile\": [64, 32], \"experts\": [[1, 3], [5, 1]], "
        "\"maps\": {\"ratio\": \"Q3!\", \"drift\": null, \"steps\": \".-2A\"}}";
    mp_picture *p;
    json_t *json = json_loads(whole, 0, NULL), *change = json_loads(changed, 0, NULL);
    assert_non_null(json);
    assert_int_equal(mp_picture_from_json(json, &p, &err), MP_OK);
    json_t *again = mp_picture_to_json(p);
    assert_true(json_equal(json, again));
    json_decref(again);
    mp_picture_free(p);
    assert_non_null(change);
    json_object_update_recursive(json, change);
    assert_int_equal(mp_picture_from_json(json, &p, &err), MP_EINPUT);
    assert_null(p);
    if (strstr(err.text, message) == NULL) fail_msg("expected '%s' in: %s", message, err.text);
    json_decref(json);
    json_decref(change);
}

static void other_json_is_refused(void **state) {
    (void)state;
    refused("{\"histograms\": 1}", "histograms.ratio: expected counts");
    refused("{\"histograms\": {\"ulps\": {\"A\": -1}}}", "histograms.ulps: expected counts from 1 on");
    refused("{\"histograms\": {\"steps\": {\"-\": 1}}}",
            "histograms.steps: expected counts from 1 on by level");
    refused("{\"histograms\": {\"steps\": {\"AA\": 1}}}", "histograms.steps");
    refused("{\"shape\": [4]}", "shape: expected two integers");
    refused("{\"shape\": [-4, 2]}", "shape: expected two integers");
    refused("{\"cells\": [65, 2]}", "cells: expected two integers from 0 to 64");
    refused("{\"cells\": [5, 2]}", "cells: expected no more than shape");
    refused("{\"experts\": [[1, 3]]}", "experts: expected 4 rows together");
    refused("{\"experts\": [[1, 3], [5, 2]]}", "experts[1]: expected an expert, and rows of the picture");
    refused("{\"experts\": {}}", "experts: expected a list");
    refused("{\"maps\": {\"ratio\": \"Q3\"}}", "maps.ratio: expected the levels of 2 x 2 cells");
    refused("{\"maps\": {\"ratio\": \"Q5\"}}", "maps.ratio");
    refused("{\"maps\": {\"ratio\": \"Q99999999999999999999\"}}", "maps.ratio");
    refused("{\"maps\": {\"ratio\": \"Q0Q4\"}}", "maps.ratio");
    refused("{\"maps\": {\"ratio\": \"QQ?Q\"}}", "maps.ratio");
    refused("{\"maps\": {\"steps\": 7}}", "maps.steps");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(rows_are_sorted_by_expert),
        cmocka_unit_test(a_clean_picture_is_told_in_fewer_cells),
        cmocka_unit_test(a_fault_is_seen_where_it_is),
        cmocka_unit_test(other_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
