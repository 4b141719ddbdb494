/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/deal.c: whatever workers do, each row is dealt once, and what runs at a time fits in. */
#include "harness/run/deal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CORES = 16 };

#define SMALL "M=4 E=2 topk=1 K=16 N=8"
#define LARGE "M=60000 E=2 topk=2 K=2048 N=64"
#define MODEL "E=128 topk=2 K=2048 N=2048"

static mp_matrix matrix_of(const char *const *texts, size_t count) {
    mp_matrix m = {0};
    mp_error err;
    for (size_t i = 0; i < count; i++)
        if (mp_matrix_add(&m, texts[i], NULL, 0, &err) != MP_OK) fail_msg("%s", err.text);
    assert_int_equal(m.count, count);
    return m;
}

/* Of a machine that is no matter: 16 cores, and room for everything. */
static mp_deal deal_of(const mp_matrix *m, int workers, bool in_order) {
    mp_deal deal;
    mp_error err;
    assert_int_equal(mp_deal_open(m, workers, in_order, &deal, &err), MP_OK);
    deal.cores = CORES;
    deal.memory = SIZE_MAX;
    return deal;
}

static const char *const shapes[] = {SMALL " seed=1", "M=1 " MODEL, "M=2 " MODEL " seed=9",
                                     SMALL " seed=2", "M=7 " MODEL, SMALL " seed=3",
                                     "M=9 " MODEL};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void expect_order(int workers, bool in_order, const size_t expected[SHAPES]) {
    mp_matrix m = matrix_of(shapes, SHAPES);
    mp_deal deal = deal_of(&m, workers, in_order);
    mp_seat seat = {.row = MP_NO_CASE};
    for (int i = 0; i < SHAPES; i++) {
        seat.row = mp_deal_next(&deal, &seat, 1, 0);
        assert_int_equal(seat.row, expected[i]);
        assert_int_equal(mp_deal_threads(&deal, &seat, 1, 0), deal.rows[seat.row].large ? CORES : 4);
    }
    assert_int_equal(mp_deal_next(&deal, &seat, 1, 0), MP_NO_CASE);
    mp_deal_close(&deal);
    mp_matrix_free(&m);
}

static void one_worker_takes_weights_once(void **state) {
    (void)state;
    expect_order(1, false, (const size_t[]){0, 1, 4, 6, 2, 3, 5});
    expect_order(1, true, (const size_t[]){0, 1, 2, 3, 4, 5, 6}); /* a recording */
}

/* The worker that has the weights goes on with them, others do not begin with them. */
static void weights_stay_where_they_are(void **state) {
    (void)state;
    mp_matrix m = matrix_of(shapes, SHAPES);
    mp_deal deal = deal_of(&m, 3, false);
    mp_seat seats[3] = {{.row = MP_NO_CASE}, {.row = MP_NO_CASE}, {.row = MP_NO_CASE}};
    for (int i = 0; i < 3; i++) {
        seats[i].row = mp_deal_next(&deal, seats, 3, i);
        seats[i].busy = true;
    }
    assert_int_equal(seats[0].row, 1); /* three rows of one shape, before one of another */
    assert_int_equal(seats[1].row, 2);
    assert_int_equal(seats[2].row, 0);
    seats[1].busy = false;
    assert_int_equal(mp_deal_next(&deal, seats, 3, 1), 3); /* a lane is free, and the weights are elsewhere */
    seats[0].busy = false;
    assert_int_equal(mp_deal_next(&deal, seats, 3, 0), 4);
    assert_int_equal(mp_deal_next(&deal, seats, 3, 0), 6);
    mp_deal_close(&deal);
    mp_matrix_free(&m);
}

/* ---- any course of events ---- */

typedef struct course {
    const mp_deal *deal;
    mp_seat seats[8];
    int count, dealt[64];
} course;

static void check_row(const course *c, int seat) {
    size_t bytes = 0;
    int large = 0, threads = 0;
    for (int i = 0; i < c->count; i++) {
        const mp_deal_row *r = c->seats[i].row == MP_NO_CASE ? NULL : &c->deal->rows[c->seats[i].row];
        if (r) bytes += c->seats[i].busy ? r->bytes : r->weights_bytes;
        if (r && c->seats[i].busy) large += r->large;
        if (r && c->seats[i].busy) threads += mp_deal_threads(c->deal, c->seats, c->count, i);
    }
    assert_true(bytes <= c->deal->memory);
    assert_true(large <= c->deal->lanes);
    assert_true(threads <= CORES);
    assert_true(mp_deal_threads(c->deal, c->seats, c->count, seat) >= 1);
}

static void take(course *c, int seat, size_t row, bool beside_others) {
    c->seats[seat] = (mp_seat){true, row};
    assert_int_equal(++c->dealt[row], 1);
    if (beside_others) check_row(c, seat);
}

/* What the suite does, with rows that end in any order and one in ten of which lacks memory beside others. */
static void play(mp_deal *deal, int workers, unsigned seed) {
    course c = {.deal = deal, .count = workers};
    int busy = 0;
    srand(seed);
    for (int i = 0; i < workers; i++) c.seats[i].row = MP_NO_CASE;
    while (deal->left > 0 || busy > 0) {
        for (int i = 0; i < workers; i++) {
            const size_t row = c.seats[i].busy ? MP_NO_CASE : mp_deal_next(deal, c.seats, workers, i);
            if (row == MP_NO_CASE) continue;
            take(&c, i, row, workers > 1);
            busy++;
        }
        if (busy == 0 && deal->left > 0) {
            for (int i = 0; i < workers; i++) c.seats[i].row = MP_NO_CASE; /* they end */
            take(&c, 0, mp_deal_any(deal), false);
            busy++;
        }
        int who = rand() % workers;
        while (busy > 0 && !c.seats[who].busy) who = (who + 1) % workers;
        c.seats[who].busy = false;
        busy--;
        if (rand() % 10 == 0 && mp_deal_again(deal, c.seats[who].row)) c.dealt[c.seats[who].row] = 0;
    }
    for (size_t i = 0; i < deal->count; i++) assert_int_equal(c.dealt[i], 1);
    assert_int_equal(mp_deal_any(deal), MP_NO_CASE);
}

static void each_row_once_and_what_runs_fits_in(void **state) {
    (void)state;
    enum { ROWS = 60, KINDS = 3 };
    char text[ROWS][96];
    const char *texts[ROWS];
    for (int i = 0; i < ROWS; i++) {
        if (i % 5 == 0)
            snprintf(text[i], sizeof *text, LARGE " seed=%d", i);
        else if (i % 5 == 1)
            snprintf(text[i], sizeof *text, "M=%d " MODEL " seed=%d", i, i % KINDS);
        else
            snprintf(text[i], sizeof *text, SMALL " seed=%d", i);
        texts[i] = text[i];
    }
    mp_matrix m = matrix_of(texts, ROWS);
    for (int workers = 1; workers <= 8; workers++)
        for (unsigned seed = 0; seed < 20; seed++) {
            mp_deal deal = deal_of(&m, workers, false);
            size_t most = 0;
            for (size_t i = 0; i < m.count; i++) most = deal.rows[i].bytes > most ? deal.rows[i].bytes : most;
            deal.memory = seed % 4 == 0 ? most / 2 : most * (size_t)(1 + seed % 4);
            play(&deal, workers, seed);
            mp_deal_close(&deal);
        }
    mp_matrix_free(&m);
}

/* An idle worker keeps weights, which count until it ends. */
static void kept_weights_take_memory(void **state) {
    (void)state;
    const char *const texts[] = {"M=1 " MODEL, "M=1 " MODEL " seed=1"};
    mp_matrix m = matrix_of(texts, 2);
    mp_deal deal = deal_of(&m, 2, false);
    mp_seat seats[2] = {{.row = MP_NO_CASE}, {.row = MP_NO_CASE}};
    deal.memory = deal.rows[1].bytes + deal.rows[0].weights_bytes / 2;
    seats[0].row = mp_deal_next(&deal, seats, 2, 0);
    assert_int_equal(seats[0].row, 0);
    assert_int_equal(mp_deal_next(&deal, seats, 2, 1), MP_NO_CASE);
    seats[0].row = MP_NO_CASE;
    assert_int_equal(mp_deal_next(&deal, seats, 2, 1), 1);
    mp_deal_close(&deal);
    mp_matrix_free(&m);
}

static void a_row_comes_again_once(void **state) {
    (void)state;
    const char *const texts[] = {SMALL, SMALL " seed=1"};
    mp_matrix m = matrix_of(texts, 2);
    for (int workers = 1; workers <= 2; workers++) {
        mp_deal deal = deal_of(&m, workers, false);
        mp_seat seats[2] = {{.row = MP_NO_CASE}, {.row = MP_NO_CASE}};
        const size_t row = mp_deal_next(&deal, seats, workers, 0);
        assert_int_equal(mp_deal_again(&deal, row), workers == 2); /* one alone had all there is */
        assert_int_equal(deal.left, workers);
        assert_int_equal(mp_deal_next(&deal, seats, workers, 0), 1);
        assert_int_equal(mp_deal_next(&deal, seats, workers, 0), MP_NO_CASE);
        assert_int_equal(mp_deal_any(&deal), workers == 2 ? row : MP_NO_CASE);
        assert_false(mp_deal_again(&deal, row));
        assert_int_equal(deal.left, 0);
        mp_deal_close(&deal);
    }
    mp_matrix_free(&m);
}

static void a_large_row_has_the_cores(void **state) {
    (void)state;
    const char *const texts[] = {LARGE, SMALL, SMALL " seed=1", SMALL " seed=2", SMALL " seed=3"};
    mp_matrix m = matrix_of(texts, 5);
    mp_deal deal = deal_of(&m, 4, false);
    mp_seat seats[4] = {{.row = MP_NO_CASE}, {.row = MP_NO_CASE}, {.row = MP_NO_CASE}, {.row = MP_NO_CASE}};
    for (int i = 0; i < 4; i++) {
        seats[i].row = mp_deal_next(&deal, seats, 4, i);
        seats[i].busy = true;
        assert_int_equal(mp_deal_threads(&deal, seats, 4, i), i == 0 ? CORES - 3 : 1);
    }
    assert_int_equal(seats[0].row, 0);
    mp_deal_close(&deal);
    deal = deal_of(&m, 4, false);
    deal.rows[0].dealt = true; /* and no large one is left: the cores are shared */
    for (int i = 0; i < 4; i++) seats[i] = (mp_seat){.row = MP_NO_CASE};
    seats[0] = (mp_seat){true, mp_deal_next(&deal, seats, 4, 0)};
    assert_int_equal(mp_deal_threads(&deal, seats, 4, 0), CORES / 4);
    deal.cores = 2; /* fewer than workers */
    assert_int_equal(mp_deal_threads(&deal, seats, 4, 0), 1);
    mp_deal_close(&deal);
    mp_matrix_free(&m);
}

/* ---- how many ---- */

static void workers_are_for_our_own_subjects(void **state) {
    (void)state;
    mp_matrix m = {0};
    mp_error err;
    for (int i = 0; i < 600; i++) {
        char text[64];
        snprintf(text, sizeof text, SMALL " seed=%d", i);
        assert_int_equal(mp_matrix_add(&m, text, NULL, 0, &err), MP_OK);
    }
    mp_suite_options o = {.settings.subject = "cuda"};
    const int most = mp_deal_workers(&m, &o);
    assert_in_range(most, 1, 8);
    o.settings.subject = "worker:python3 adapter.py";
    assert_int_equal(mp_deal_workers(&m, &o), 1);
    o.settings.subject = "host";
    o.settings.against = "plugin:a.so";
    assert_int_equal(mp_deal_workers(&m, &o), 1);
    o.settings.against = NULL;
    o.record = &(mp_record_options){0};
    assert_int_equal(mp_deal_workers(&m, &o), 1);
    o.record = NULL;
    assert_int_equal(mp_deal_workers(&m, &o), most);
    m.count = 15; /* too few to start a second worker for */
    assert_int_equal(mp_deal_workers(&m, &o), 1);
    m.count = 600;
    mp_matrix_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_takes_weights_once),
        cmocka_unit_test(weights_stay_where_they_are),
        cmocka_unit_test(each_row_once_and_what_runs_fits_in),
        cmocka_unit_test(a_large_row_has_the_cores),
        cmocka_unit_test(kept_weights_take_memory),
        cmocka_unit_test(a_row_comes_again_once),
        cmocka_unit_test(workers_are_for_our_own_subjects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
