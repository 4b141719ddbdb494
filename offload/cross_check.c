/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/cross_check.h"

#include "base/mix.h"
#include "ref/bounds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[MP_TILE_RESULTS] = {"value", "mass", "sure", "det", "random"};

void mp_tile_results(const mp_gemm_tile *tile, const double *results[MP_TILE_RESULTS]) {
    results[0] = tile->value;
    results[1] = tile->mass;
    results[2] = tile->sure;
    results[3] = tile->det;
    results[4] = tile->random;
}

int64_t mp_cross_check_choose(int64_t count, uint64_t which, int64_t most, int64_t *place) {
    const int64_t chosen = count < most ? count : most;
    for (int64_t i = 0; i < chosen; i++) { /* one of each of so many parts */
        const int64_t begin = i * count / chosen, end = (i + 1) * count / chosen;
        const uint64_t random = mp_bits(which * (uint64_t)most + (uint64_t)i, 1);
        place[i] = begin + (int64_t)(random % (uint64_t)(end - begin));
    }
    return chosen;
}

int64_t mp_cross_check_choose_those(int64_t count, bool (*is_one)(const void *ctx, int64_t index),
                                    const void *ctx, uint64_t which, int64_t most, int64_t *chosen) {
    int64_t there = 0, place = 0, next = 0;
    for (int64_t i = 0; i < count; i++) there += is_one(ctx, i);
    const int64_t n = mp_cross_check_choose(there, which, most, chosen);
    for (int64_t i = 0; i < count && next < n; i++) /* places ascend: each becomes what is there */
        if (is_one(ctx, i) && chosen[next] == place++) chosen[next++] = i;
    return n;
}

/* Rows of the expert that has this one, at most `most`, each once. */
static int64_t rows_of_expert(const mp_row_block *blocks, int64_t count, int64_t of, int64_t most,
                              int64_t *row) {
    const mp_row_block *first = mp_block_of_row(blocks, count, of), *last = first;
    while (first > blocks && first[-1].expert == first->expert) first--;
    while (last < blocks + count - 1 && last[1].expert == last->expert) last++;
    const int64_t size = last->row + last->count - first->row, chosen = size < most ? size : most;
    for (int64_t i = 0; i < chosen; i++) row[i] = first->row + (of - first->row + i * size / chosen) % size;
    return chosen;
}

int64_t mp_cross_check_rows(const mp_gemm_problem *p, const mp_row_block *blocks, int64_t count,
                            uint64_t which, int64_t most, int64_t *row) {
    enum { LARGE = 1 << 23 }; /* weights of an expert: to decode those of eight takes a core a second */
    const mp_row_block *last = &blocks[count - 1];
    const int64_t chosen = mp_cross_check_choose(last->row + last->count, which, most, row);
    if (p->w.codes->dim[1] * p->w.codes->dim[2] < LARGE || chosen < 2) return chosen;
    const int64_t a = row[mp_bits(which, 1) % (uint64_t)chosen],
                  b = row[mp_bits(which + 1, 1) % (uint64_t)chosen];
    const int64_t rows = rows_of_expert(blocks, count, a, most / 2, row);
    if (mp_block_of_row(blocks, count, a)->expert == mp_block_of_row(blocks, count, b)->expert) return rows;
    return rows + rows_of_expert(blocks, count, b, most - rows, row + rows);
}

mp_status mp_cross_check_begin(mp_cross_check *check, const mp_gemm_problem *problem, bool with_mass,
                               const int64_t *slots, int64_t count, mp_error *err) {
    const int64_t width = problem->w.codes->dim[1];
    *check = (mp_cross_check){.problem = problem, .with_mass = with_mass, .count = count};
    memcpy(check->slot, slots, (size_t)count * sizeof *slots);
    check->results = malloc((size_t)(count * MP_TILE_RESULTS * width) * sizeof(double));
    return check->results ? MP_OK
                          : mp_fail(err, MP_EMEMORY, "no memory for rows of %lld float64", (long long)width);
}

/* Which of the slots it is; -1: none. */
static int64_t place_of(const mp_cross_check *check, int64_t slot) {
    int64_t i = check->count - 1;
    while (i >= 0 && check->slot[i] != slot) i--;
    return i;
}

bool mp_cross_check_has(const mp_cross_check *check, int64_t slot) {
    return place_of(check, slot) >= 0;
}

static double *results_at(const mp_cross_check *check, int64_t place, int which) {
    return check->results + (place * MP_TILE_RESULTS + which) * check->problem->w.codes->dim[1];
}

void mp_cross_check_take(mp_cross_check *check, const mp_gemm_tile *tile) {
    const double *results[MP_TILE_RESULTS];
    mp_tile_results(tile, results);
    for (int64_t r = 0; r < tile->count; r++) {
        const int64_t place = place_of(check, tile->slot[r]);
        if (place < 0) continue;
        for (int w = 0; w < MP_TILE_RESULTS; w++)
            if (results[w])
                memcpy(results_at(check, place, w) + tile->n0, results[w] + r * tile->n,
                       (size_t)tile->n * sizeof(double));
#pragma omp atomic
        check->seen += tile->n;
    }
}

/* ---- the other engine ---- */

typedef struct comparison {
    const mp_cross_check *check;
    double gamma, underflow;
    int64_t seen;
    bool differs;
    struct {
        int64_t slot, column;
        int which;
        double taken, expected, bound;
    } first;
} comparison;

/* Sums whose magnitudes overflow float64 may be Inf or NaN in one order and not in another. */
static bool agree(double a, double b, double magnitudes, double bound) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return !isfinite(magnitudes) || fabs(a - b) <= bound;
}

static void compare(void *ctx, const mp_gemm_tile *tile) {
    comparison *c = ctx;
    const double *expected[MP_TILE_RESULTS];
    mp_tile_results(tile, expected);
    for (int64_t r = 0; r < tile->count; r++)
        for (int64_t n = 0; n < tile->n; n++)
            for (int w = 0; w < MP_TILE_RESULTS; w++) {
                if (!expected[w] || (w == 1 && !c->check->with_mass)) continue;
                const int64_t at = r * tile->n + n;
                const double taken = results_at(c->check, tile->slot[r], w)[tile->n0 + n],
                             magnitudes = w == 0 ? tile->mass[at] : expected[w][at],
                             bound = 2 * c->gamma * magnitudes + c->underflow;
                if (agree(taken, expected[w][at], magnitudes, bound)) continue;
#pragma omp critical(mp_cross_check)
                if (!c->differs) {
                    c->differs = true;
                    c->first.slot = c->check->slot[tile->slot[r]];
                    c->first.column = tile->n0 + n;
                    c->first.which = w;
                    c->first.taken = taken;
                    c->first.expected = expected[w][at];
                    c->first.bound = bound;
                }
            }
#pragma omp atomic
    c->seen += tile->count * tile->n;
}

mp_status mp_cross_check_compare(const mp_cross_check *check, const mp_engine *engine, mp_error *err) {
    const mp_gemm_problem *p = check->problem;
    const int64_t K = p->w.codes->dim[2], all = check->count * p->w.codes->dim[1];
    int64_t a_row[MP_CROSS_CHECKED];
    int32_t ids[MP_CROSS_CHECKED];
    mp_gemm_problem few = *p;
    few.slots = check->count;
    few.a_row = a_row;
    few.topk_ids = ids;
    for (int64_t i = 0; i < check->count; i++) {
        a_row[i] = p->a_row[check->slot[i]];
        ids[i] = p->topk_ids[check->slot[i]];
    }
    comparison c = {.check = check,
                    /* of the computed magnitudes, which may be too small by gamma themselves; of squares,
                     * whose product and square are rounded too */
                    .gamma = mp_gamma((double)K + 3, 0x1p-53) * (1 + 0x1p-20),
                    .underflow = 2 * (double)K * 0x1p-1074};
    if (check->seen != all)
        return mp_fail(err, MP_EDEVICE, "the judge on the device showed %lld of %lld sums that are looked at",
                       (long long)check->seen, (long long)all);
    const mp_status status = mp_gemm_float64(engine, &few, true, compare, &c, err);
    if (status != MP_OK) return status;
    if (c.seen != all)
        return mp_fail(err, MP_EINTERNAL, "%lld of %lld sums were compared", (long long)c.seen,
                       (long long)all);
    if (!c.differs) return MP_OK;
    return mp_fail(err, MP_EDEVICE,
                   "the judge on the device is wrong: slot %lld column %lld: %s %.17g, by %s %.17g, expected "
                   "within %.3g",
                   (long long)c.first.slot, (long long)c.first.column, names[c.first.which], c.first.taken,
                   engine->name(engine), c.first.expected, c.first.bound);
}

void mp_cross_check_end(mp_cross_check *check) {
    free(check->results);
    check->results = NULL;
}
