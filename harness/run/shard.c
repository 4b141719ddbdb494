/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/shard.h"

#include "base/text.h"
#include "moeparity/inputs.h"
#include "moeparity/settings.h"
#include "moeparity/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a row costs ---- */

enum {
    /* Multiplications in whose time an element of an input is filled, or one that a stage leaves is judged,
     * and what a case takes whatever its size: as the rows of the stock matrices came out on a CPU, where the
     * judge spends most of the time whatever the subject. */
    FILL_COST = 12,
    JUDGE_COST = 200,
    CASE_COST = 2000000,
    USUAL_BLOCK = 64 /* slots to which align pads: near enough */
};
#define COST_MAX ((uint64_t)1 << 45) /* so that the sum over 2^18 rows is one of 64 bits */

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) || product > COST_MAX ? COST_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b) {
    return a + b > COST_MAX ? COST_MAX : a + b; /* both are at most COST_MAX */
}

static uint64_t elements(const mp_tensor t[MP_TENSOR_COUNT]) {
    uint64_t count = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (t[id].rank > 0) count = plus(count, (uint64_t)mp_tensor_count(&t[id]));
    return count;
}

static uint64_t case_cost(const mp_case *c, int runs) {
    mp_inputs in;
    mp_trace trace;
    uint64_t multiplications = 0;
    const uint64_t slots = (uint64_t)mp_case_slots(c);
    if (mp_case_has_stage(c, MP_GATE_UP))
        multiplications = times(times(slots, (uint64_t)mp_case_w1_rows(c)), (uint64_t)c->K);
    if (mp_case_has_stage(c, MP_DOWN))
        multiplications = plus(multiplications, times(times(slots, (uint64_t)c->N), (uint64_t)c->K));
    mp_inputs_plan(c, &in);
    mp_trace_plan(c, USUAL_BLOCK, &trace);
    const uint64_t filled = times(FILL_COST, elements(in.t)), judged = times(JUDGE_COST, elements(trace.t));
    return plus(plus(times(multiplications, (uint64_t)runs), plus(filled, judged)), CASE_COST);
}

uint64_t mp_row_cost(const mp_matrix_row *row, int repeat) {
    enum { JUDGED = 2 /* float64 and the predicted bits */ };
    uint64_t cost = case_cost(&row->c, (repeat > 0 ? repeat : MP_REPEAT) + JUDGED);
    for (size_t i = 0; i < row->pair_count; i++) cost = plus(cost, case_cost(&row->pairs[i], 1));
    for (size_t i = 0; i < row->after_count; i++) cost = plus(cost, case_cost(&row->afters[i], 1));
    return cost;
}

/* ---- the cut ---- */

typedef struct priced {
    uint64_t cost;
    size_t row;
} priced;

static int dearest_first(const void *a, const void *b) {
    const priced *p = a, *q = b;
    if (p->cost != q->cost) return p->cost > q->cost ? -1 : 1;
    return p->row < q->row ? -1 : p->row > q->row;
}

/* A shard with what it has so far. They are kept as a heap, the lightest on top. */
typedef struct load {
    uint64_t cost;
    int shard;
} load;

static bool lighter(const load *a, const load *b) {
    return a->cost != b->cost ? a->cost < b->cost : a->shard < b->shard;
}

/* The one on top has become heavier. */
static void sink(load *heap, int count) {
    for (int at = 0;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (lighter(&heap[child], &heap[least])) least = child;
        if (least == at) return;
        const load moved = heap[at];
        heap[at] = heap[least];
        heap[least] = moved;
        at = least;
    }
}

/* Puts into owner[] the shard of every row; *all and *own: the cost of the whole, and of that shard. */
static void deal(priced *rows, size_t count, load *heap, mp_shard shard, int *owner, uint64_t *all,
                 uint64_t *own) {
    *all = *own = 0;
    qsort(rows, count, sizeof *rows, dearest_first);
    for (int i = 0; i < shard.count; i++) heap[i] = (load){0, i}; /* ascending: a heap already */
    for (size_t i = 0; i < count; i++) {
        owner[rows[i].row] = heap[0].shard;
        *all += rows[i].cost;
        if (heap[0].shard == shard.index) *own += rows[i].cost;
        heap[0].cost += rows[i].cost;
        sink(heap, shard.count);
    }
}

/* ---- the whole ---- */

uint64_t mp_row_digest(int64_t row, const char *name) {
    mp_text text = {0};
    mp_text_add(&text, "%" PRId64 " %s", row, name);
    const uint64_t digest = mp_digest(mp_text_get(&text), text.length);
    mp_text_free(&text);
    return digest;
}

static mp_status digest_of(const mp_matrix *whole, mp_share *share, mp_error *err) {
    mp_text text = {0};
    for (size_t i = 0; i < whole->count; i++) {
        const mp_matrix_row *row = &whole->rows[i];
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&row->c, name, sizeof name);
        if (!row->file) share->names += mp_row_digest((int64_t)i, name);
        mp_text_add(&text, "%s\n%s\n%s\n", name, row->group ? row->group : "", row->file ? row->file : "");
        for (size_t p = 0; p < row->pair_count; p++) mp_text_add(&text, "= %s\n", row->pair_text[p]);
        for (size_t p = 0; p < row->after_count; p++) mp_text_add(&text, "after %s\n", row->after_text[p]);
    }
    const bool lost = text.lost;
    if (!lost)
        snprintf(share->digest, sizeof share->digest, "%016" PRIx64,
                 mp_digest(mp_text_get(&text), text.length));
    mp_text_free(&text);
    return lost ? mp_fail(err, MP_EMEMORY, "no memory for the names of %zu cases", whole->count) : MP_OK;
}

static void collect(const mp_matrix *whole, const int *owner, mp_share *share) {
    for (size_t i = 0; i < whole->count; i++) {
        if (owner[i] != share->shard.index) continue;
        share->place[share->matrix.count] = i;
        share->matrix.rows[share->matrix.count++] = whole->rows[i];
    }
}

mp_status mp_share_cut(const mp_matrix *whole, mp_shard shard, int repeat, mp_share *share, mp_error *err) {
    const size_t room = whole->count + 1; /* of nothing malloc may give nothing */
    uint64_t all, own;
    *share = (mp_share){.shard = shard, .cases = whole->count};
    priced *rows = malloc(room * sizeof *rows);
    load *heap = malloc((size_t)shard.count * sizeof *heap);
    int *owner = malloc(room * sizeof *owner);
    share->matrix.rows = malloc(room * sizeof *share->matrix.rows);
    share->place = malloc(room * sizeof *share->place);
    mp_status status = MP_OK;
    if (!rows || !heap || !owner || !share->matrix.rows || !share->place) {
        status = mp_fail(err, MP_EMEMORY, "no memory for %d shards of %zu cases", shard.count, whole->count);
        goto out;
    }
    if ((status = digest_of(whole, share, err)) != MP_OK) goto out;
    for (size_t i = 0; i < whole->count; i++) rows[i] = (priced){mp_row_cost(&whole->rows[i], repeat), i};
    deal(rows, whole->count, heap, shard, owner, &all, &own);
    share->part = all > 0 ? (double)own / (double)all : 0;
    collect(whole, owner, share);
out:
    free(rows);
    free(heap);
    free(owner);
    if (status != MP_OK) mp_share_free(share);
    return status;
}

void mp_share_free(mp_share *share) {
    free(share->matrix.rows);
    free(share->place);
    *share = (mp_share){0};
}
