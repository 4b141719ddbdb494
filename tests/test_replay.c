/* SPDX-License-Identifier: Apache-2.0 */
/* The plan by which a row that failed behind others is run again, without any process. */
#include "harness/run/replay.h"
#include "harness/run/repro.h"
#include "harness/verdict_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 100 };
static mp_matrix matrix;
static const mp_settings settings = {.subject = "host"};

/* What a process must have run before the last row for it to fail; and what else there is to say. */
typedef struct world {
    size_t needs;       /* so many of the last rows; 0: it fails alone; MOST: never again */
    size_t crashes_at;  /* a row that no process survives, when run again; MOST: none */
    mp_outcome outcome; /* of the last row, where it does not fail: PASS or SKIP */
} world;

/* Runs the plan for the row `count`, behind rows 0..count-1; returns how many processes it took, and the rows
 * of the last of them in ran. */
static int play(size_t count, const world *w, mp_verdict *v, char ran[4096]) {
    size_t *before = malloc((count + 1) * sizeof *before);
    mp_replay replay;
    mp_replay_step step = MP_REPLAY_RESTARTS;
    int processes = 0;
    assert_non_null(before);
    for (size_t i = 0; i < count; i++) before[i] = i;
    mp_verdict_begin(&matrix.rows[count], NULL, 0, &settings, MP_FAIL, v);
    mp_replay_begin(&replay, count, before, count);
    for (size_t here = 0; step != MP_REPLAY_ENDS; here++) {
        if (step == MP_REPLAY_RESTARTS) here = 0, processes++, ran[0] = '\0';
        const size_t row = mp_replay_next(&replay);
        assert_int_equal(row, mp_replay_at(&replay, here));
        sprintf(ran + strlen(ran), "%s%zu", here ? " " : "", row);
        const mp_outcome outcome = row == w->crashes_at && row != count ? MP_CRASH
                                   : row != count                       ? MP_PASS
                                   : here >= w->needs                   ? MP_FAIL
                                                                        : w->outcome;
        step = mp_replay_take(&replay, outcome, &matrix, &settings, v);
        assert_true(processes < 12);
    }
    assert_false(replay.active);
    return processes;
}

static int cases_of(const char *repro) {
    int count = 0;
    for (const char *at = strstr(repro, "--case "); at; at = strstr(at + 1, "--case ")) count++;
    return count;
}

static void rows_before_come_back_until_it_fails(void **state) {
    (void)state;
    static const struct {
        size_t count;
        world w;
        int processes;
        const char *ran, *history;
        int cases; /* in the repro */
    } plays[] = {
        {3, {0, MOST, MP_PASS}, 1, "3", "", 1},
        {1, {1, MOST, MP_PASS}, 2, "0 1", "passes alone; failed after 1 row of the same process", 2},
        {3,
         {1, MOST, MP_PASS},
         2,
         "2 3",
         "passes alone; failed after 3 rows of the same process; the last of them is enough",
         2},
        {7,
         {3, MOST, MP_PASS},
         4,
         "3 4 5 6 7",
         "passes alone; failed after 7 rows of the same process; the last 4 of them are enough",
         5},
        {6,
         {5, MOST, MP_PASS},
         5,
         "0 1 2 3 4 5 6",
         "passes alone; failed after 6 rows of the same process",
         7},
        {3,
         {MOST, MOST, MP_PASS},
         4,
         "0 1 2 3",
         "passes alone; failed after 3 rows of the same process, and not again behind them",
         4},
        {3,
         {MOST, 1, MP_PASS},
         3,
         "1",
         "passes alone; failed after 3 rows of the same process; run again, one of the rows before it did "
         "not "
         "survive",
         1},
        {2,
         {MOST, MOST, MP_SKIP},
         1,
         "2",
         "failed after 2 rows of the same process; run again, it was skipped",
         1},
        {50,
         {40, MOST, MP_PASS},
         8,
         NULL,
         "passes alone; failed after 50 rows of the same process; the line leaves out all but the last 32",
         33},
    };
    for (size_t i = 0; i < sizeof plays / sizeof *plays; i++) {
        char ran[4096];
        mp_verdict *v = malloc(sizeof *v);
        assert_non_null(v);
        assert_int_equal(play(plays[i].count, &plays[i].w, v, ran), plays[i].processes);
        if (plays[i].ran) assert_string_equal(ran, plays[i].ran);
        assert_string_equal(v->history, plays[i].history);
        assert_int_equal(cases_of(v->repro), plays[i].cases);
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix.rows[plays[i].count].c, name, sizeof name);
        assert_non_null(strstr(v->repro, name));
        assert_int_equal(v->outcome, MP_FAIL);
        mp_verdict_free(v);
        free(v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_before_come_back_until_it_fails)};
    for (int i = 0; i < MOST; i++) {
        char text[32];
        mp_error err = {0};
        snprintf(text, sizeof text, "M=%d scope=act", i + 1);
        if (mp_matrix_add(&matrix, text, NULL, 0, &err) != MP_OK) return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mp_matrix_free(&matrix);
    return failed;
}
