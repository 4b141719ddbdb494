/* SPDX-License-Identifier: Apache-2.0 */
/* offload/pieces.c: every slot comes with every column once, and no piece is larger than it may be. And
 * offload/cross_check.c: what differs is found. */
#include "offload/cross_check.h"
#include "offload/device/params.h"
#include "offload/offload.h"
#include "offload/pieces.h"
#include "tests/ref_support.h"

#include <stdint.h>

typedef struct problem {
    mp_tensor a, w;
    int32_t *ids;
    int64_t *row;
    mp_gemm_problem p;
} problem;

static void problem_create(rng *r, int64_t E, int64_t N, int64_t K, int64_t slots, problem *q) {
    *q = (problem){.a = allocated_tensor(MP_BF16, slots > 0 ? slots : 1, K, 0),
                   .w = allocated_tensor(MP_BF16, E, N, K),
                   .ids = allocated(slots, sizeof *q->ids),
                   .row = allocated(slots, sizeof *q->row)};
    for (int64_t i = 0; i < mp_tensor_count(&q->a); i++) mp_encode(MP_BF16, q->a.data, i, random_unit(r));
    for (int64_t i = 0; i < mp_tensor_count(&q->w); i++) mp_encode(MP_BF16, q->w.data, i, random_unit(r));
    for (int64_t t = 0; t < slots; t++) {
        q->ids[t] = (int32_t)random_below(r, E + 1) - 1;
        q->row[t] = random_below(r, 9) == 0 ? -1 : t;
    }
    q->p = (mp_gemm_problem){
        .a = {.codes = &q->a}, .a_row = q->row, .w = {.codes = &q->w}, .topk_ids = q->ids, .slots = slots};
}

static void problem_free(problem *q) {
    mp_tensor_free(&q->a);
    mp_tensor_free(&q->w);
    free(q->ids);
    free(q->row);
}

/* Walks over all pieces in so many bytes; 0 where there is too little. */
static int64_t walk(const problem *q, size_t bytes, int results, int *visits) {
    const int64_t N = q->w.dim[1], K = q->w.dim[2], padded = (K + 15) / 16 * 16;
    mp_gemm_tasks tasks;
    mp_row_block *blocks;
    int64_t count, pieces = 0;
    assert_int_equal(mp_gemm_tasks_create(&q->p, &tasks, NULL), MP_OK);
    assert_int_equal(mp_row_blocks(&tasks, &blocks, &count, NULL), MP_OK);
    const mp_piece_limits limits =
        mp_piece_limits_of(&q->p, padded, results, bytes, MP_OFFLOAD_LANDING_BYTES);
    assert_true(limits.a_bytes + limits.w_bytes + limits.result_bytes <= bytes);
    mp_piece piece = {0};
    int64_t row = 0;
    while (limits.rows > 0 && mp_next_piece(blocks, count, N, &limits, &piece)) {
        assert_true(piece.end > piece.begin && piece.n > 0 && piece.n <= limits.columns);
        assert_true(piece.rows <= limits.rows && piece.n0 + piece.n <= N);
        const mp_row_block *first = &blocks[piece.begin], *last = &blocks[piece.end - 1];
        assert_true(last->matrix - first->matrix < limits.matrices);
        assert_int_equal(last->row + last->count - first->row, piece.rows);
        /* what tiles read beyond their rows and columns lies in the buffers */
        assert_true((size_t)((piece.rows + MP_TILE) * padded) * 8 <= limits.a_bytes);
        assert_true((size_t)(((last->matrix - first->matrix + 1) * piece.n + MP_TILE) * padded) * 8 <=
                    limits.w_bytes);
        assert_true((size_t)(results * piece.rows * piece.n) * 8 <= limits.result_bytes);
        row = piece.begin == 0 ? 0 : row;
        for (int64_t b = piece.begin; b < piece.end; b++) {
            assert_true(blocks[b].count > 0 && blocks[b].count <= MP_TILE);
            assert_int_equal(blocks[b].row, row);
            row += blocks[b].count;
            for (int64_t i = 0; i < blocks[b].count; i++) {
                const int64_t slot = tasks.order[blocks[b].first + i];
                assert_int_equal(q->ids[slot], blocks[b].expert);
                for (int64_t n = 0; n < piece.n; n++) visits[slot * N + piece.n0 + n]++;
            }
        }
        pieces++;
    }
    free(blocks);
    mp_gemm_tasks_destroy(&tasks);
    return pieces;
}

static void pieces_cover_all(void **state) {
    (void)state;
    rng r = {1};
    static const size_t bytes[] = {1 << 16, 1 << 20, 3 << 19, 1 << 22, (size_t)1 << 31};
    int64_t most = 0, none = 0;
    for (int round = 0; round < 60; round++) {
        problem q;
        problem_create(&r, 1 + random_below(&r, 9), 1 + random_below(&r, 400), 1 + random_below(&r, 200),
                       random_below(&r, 700), &q);
        const int64_t N = q.w.dim[1];
        for (size_t b = 0; b < COUNT(bytes); b++) {
            int *visits = allocated(q.p.slots * N, sizeof *visits);
            const int64_t pieces = walk(&q, bytes[b], 1 + (int)random_below(&r, 5), visits);
            bool any = false;
            for (int64_t i = 0; i < q.p.slots * N; i++) {
                const int expected = q.ids[i / N] >= 0 && q.row[i / N] >= 0;
                any = any || expected;
                if (pieces > 0) assert_int_equal(visits[i], expected);
            }
            if (any && pieces == 0) none++;
            if (any && b == COUNT(bytes) - 1) assert_int_equal(pieces, 1);
            if (pieces > most) most = pieces;
            free(visits);
        }
        problem_free(&q);
    }
    if (most < 10 || none == 0)
        fail_msg("most %lld pieces, %lld too small", (long long)most, (long long)none);
}

/* ---- the cross-check ---- */

static void places_are_spread(void **state) {
    (void)state;
    for (int64_t count = 0; count < 50; count++)
        for (uint64_t which = 0; which < 20; which++) {
            int64_t place[MP_CROSS_CHECKED];
            const int64_t chosen = mp_cross_check_choose(count, which, MP_CROSS_CHECKED, place);
            assert_int_equal(chosen, count < MP_CROSS_CHECKED ? count : MP_CROSS_CHECKED);
            for (int64_t i = 0; i < chosen; i++)
                assert_true(place[i] >= i * count / chosen && place[i] < (i + 1) * count / chosen);
        }
}

static bool is_marked(const void *marks, int64_t index) {
    return ((const bool *)marks)[index];
}

/* Among those that are meant they are what they are among as many. */
static void places_among_some_are_spread_over_these(void **state) {
    (void)state;
    enum { COUNT = 40 };
    rng r = {11};
    for (uint64_t which = 0; which < 200; which++) {
        int64_t meant[COUNT], there = 0, place[MP_CROSS_CHECKED], chosen[MP_CROSS_CHECKED];
        bool mark[COUNT];
        for (int64_t i = 0; i < COUNT; i++) {
            mark[i] = random_below(&r, 1 + (int)(which % 10)) == 0;
            if (mark[i]) meant[there++] = i;
        }
        const int64_t n = mp_cross_check_choose(there, which, MP_CROSS_CHECKED, place);
        assert_int_equal(mp_cross_check_choose_those(COUNT, is_marked, mark, which, MP_CROSS_CHECKED, chosen),
                         n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(chosen[i], meant[place[i]]);
    }
}

/* Rows that are computed again are each once; of large weights they are of two experts at most, and over many
 * GEMMs of all. */
static void rows_of_large_weights_are_of_few_experts(void **state) {
    (void)state;
    enum { E = 6, MOST = 8 };
    rng r = {4};
    problem q;
    problem_create(&r, E, 8, 8, 90, &q);
    mp_gemm_tasks tasks;
    mp_row_block *blocks;
    int64_t count;
    assert_int_equal(mp_gemm_tasks_create(&q.p, &tasks, NULL), MP_OK);
    assert_int_equal(mp_row_blocks(&tasks, &blocks, &count, NULL), MP_OK);
    mp_tensor large = mp_tensor_shape(MP_BF16, 3, E, 1 << 12, 1 << 11); /* of which nothing is read */
    mp_gemm_problem p = q.p;
    for (int is_large = 0; is_large < 2; is_large++) {
        bool seen[E] = {false};
        p.w.codes = is_large ? &large : &q.w;
        for (uint64_t which = 0; which < 60; which++) {
            int64_t row[MOST];
            int experts = 0;
            bool here[E] = {false};
            const int64_t chosen = mp_cross_check_rows(&p, blocks, count, which, MOST, row);
            assert_true(chosen >= 2 && chosen <= MOST);
            for (int64_t i = 0; i < chosen; i++) {
                const mp_row_block *b = mp_block_of_row(blocks, count, row[i]);
                assert_true(row[i] >= b->row && row[i] < b->row + b->count);
                for (int64_t k = 0; k < i; k++) assert_true(row[k] != row[i]);
                experts += !here[b->expert];
                here[b->expert] = seen[b->expert] = true;
            }
            assert_true(!is_large || experts <= 2);
        }
        for (int64_t i = 0; i < count; i++) assert_true(seen[blocks[i].expert]);
    }
    free(blocks);
    mp_gemm_tasks_destroy(&tasks);
    problem_free(&q);
}

typedef struct shown {
    mp_cross_check *check;
    int fault;
} shown;

/* The results of the CPU, but for a fault in the row of the second slot that is looked at. */
static void show(void *ctx, const mp_gemm_tile *tile) {
    enum { N = 40 };
    const shown *s = ctx;
    double value[N], mass[N];
    for (int64_t i = 0; i < tile->count; i++) {
        mp_gemm_tile one = *tile;
        one.slot = tile->slot + i;
        one.count = 1;
        one.value = memcpy(value, tile->value + i * tile->n, (size_t)tile->n * sizeof *value);
        one.mass = memcpy(mass, tile->mass + i * tile->n, (size_t)tile->n * sizeof *mass);
        const bool here = tile->slot[i] == s->check->slot[1];
        if (here && s->fault == 1) value[7] += 1e-9;
        if (here && s->fault == 2) value[7] = NAN;
        if (here && s->fault == 3) mass[39] *= 1 + 1e-12;
        if (here && s->fault == 4) one.n--;
        if (here && s->fault == 5) value[0] = value[1];
        mp_cross_check_take(s->check, &one);
    }
}

static void differences_are_found(void **state) {
    (void)state;
    static const char *const texts[] = {NULL,   "value", "value nan", "column 39: mass", "showed 159 of 160",
                                        "value"};
    rng r = {2};
    problem q;
    problem_create(&r, 3, 40, 100, 30, &q);
    for (int fault = 0; fault < 6; fault++) {
        mp_error err = {0};
        mp_cross_check check;
        int64_t slot[MP_CROSS_CHECKED], count = 0;
        for (int64_t t = 0; t < q.p.slots && count < MP_CROSS_CHECKED; t++)
            if (q.ids[t] >= 0 && q.row[t] >= 0) slot[count++] = t;
        assert_int_equal(mp_cross_check_begin(&check, &q.p, true, slot, count, &err), MP_OK);
        assert_int_equal(mp_gemm_float64(&mp_engine_plain, &q.p, true, show, &(shown){&check, fault}, &err),
                         MP_OK);
        const mp_status status = mp_cross_check_compare(&check, mp_engine_of_cpu(), &err);
        assert_int_equal(status, fault ? MP_EDEVICE : MP_OK);
        if (fault && !strstr(err.text, texts[fault])) fail_msg("fault %d: %s", fault, err.text);
        mp_cross_check_end(&check);
    }
    problem_free(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_cover_all), cmocka_unit_test(places_are_spread),
        cmocka_unit_test(places_among_some_are_spread_over_these),
        cmocka_unit_test(rows_of_large_weights_are_of_few_experts), cmocka_unit_test(differences_are_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
