/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that live on what a run before has left: each case alone, on new buffers, is right. */
#include "tests/faults.h"

#include <string.h>

/* Another run has used these buffers: they hold no poison. */
static bool used(const faulty_run *run) {
    return run->poison != MP_POISON_A && run->poison != MP_POISON_B;
}

/* Exchanges *kept for a copy of the tensor as it is now, and gives what it was. */
static mp_tensor exchange(mp_tensor *kept, const mp_tensor *now) {
    const mp_tensor before = *kept;
    *kept = copy_tensor(now);
    return before;
}

static void forget(mp_tensor *kept) {
    mp_tensor_free(kept);
    *kept = (mp_tensor){0};
}

/* A fused sum has no rows of down from which it could be done again: there cache1 alone is wrong. */
static void redo_behind_gate_up(const faulty_run *run) {
    if (!run->c->fused_sum) redo_from(run, MP_ACT);
}

/* The sort is kept for the number of tokens alone. */
void sort_kept_for_tokens(const faulty_run *run) {
    static const mp_tensor_id sorted[] = {MP_SORTED_TOKEN_IDS, MP_EXPERT_IDS, MP_NUM_TOKENS_POST_PADDED};
    static mp_tensor kept[3];
    static int64_t tokens;
    if (run->number == 0)
        for (int i = 0; i < 3; i++) forget(&kept[i]);
    const bool known = kept[0].data && tokens == run->c->M;
    for (int i = 0; i < 3; i++) {
        const mp_tensor *t = &run->trace->t[sorted[i]];
        if (known)
            memcpy(t->data, kept[i].data, mp_tensor_bytes(t));
        else
            mp_tensor_free(&(mp_tensor){.data = exchange(&kept[i], t).data});
    }
    tokens = run->c->M;
}

/* Of cache1 what the first `blocks` blocks make is computed. */
static void launch_blocks(const faulty_run *run, int64_t blocks) {
    const mp_tensor *sorted = &run->trace->t[MP_SORTED_TOKEN_IDS], *cache1 = &run->trace->t[MP_CACHE1];
    const int32_t *slot = sorted->data, *padded = run->trace->t[MP_NUM_TOKENS_POST_PADDED].data;
    const int64_t end = blocks * run->trace->block_size_m;
    for (int64_t p = end; p < padded[0]; p++)
        if (slot[p] < mp_case_slots(run->c))
            mp_fill_pattern(mp_tensor_row(cache1, slot[p]), mp_tensor_row_bytes(cache1), MP_POISON_B);
    if (end < padded[0]) redo_behind_gate_up(run);
}

static int64_t blocks_of(const faulty_run *run) {
    return *(const int32_t *)run->trace->t[MP_NUM_TOKENS_POST_PADDED].data / run->trace->block_size_m;
}

/* So is the number of blocks that are launched, as it was first. */
void grid_kept_for_tokens(const faulty_run *run) {
    enum { MOST = 16 };
    static struct grid { int64_t tokens, blocks; } known[MOST];
    int i = 0;
    if (run->number == 0) memset(known, 0, sizeof known);
    while (i < MOST - 1 && known[i].tokens != 0 && known[i].tokens != run->c->M) i++;
    if (known[i].tokens != run->c->M) known[i] = (struct grid){run->c->M, blocks_of(run)};
    launch_blocks(run, known[i].blocks);
}

/* As it was in the run before, if that had as many tokens: a graph that is not captured anew. */
void grid_of_the_run_before(const faulty_run *run) {
    static int64_t tokens, blocks;
    const int64_t now = blocks_of(run);
    launch_blocks(run, run->number > 0 && tokens == run->c->M ? blocks : now);
    tokens = run->c->M;
    blocks = now;
}

/* The count is the largest that there has been in this buffer: it is not set back. */
void padded_count_only_grows(const faulty_run *run) {
    static int32_t kept;
    int32_t *padded = run->trace->t[MP_NUM_TOKENS_POST_PADDED].data;
    const int32_t now = *padded;
    if (used(run) && run->number > 0 && kept > now) *padded = kept;
    kept = now;
}

/* A run without tokens says that there is nothing to do, and nobody takes that back. */
void idle_once_idle_again(const faulty_run *run) {
    static bool idle;
    const mp_tensor *out = &run->trace->t[MP_OUT];
    if (run->number > 0 && idle) memset(out->data, 0, mp_tensor_bytes(out));
    idle = run->c->M == 0;
}

/* All blocks in expert_ids are computed, also those that the run before has left behind the last one: their
 * slots get another expert's rows, here none. */
void blocks_of_the_run_before(const faulty_run *run) {
    static mp_tensor kept;
    static int32_t end;
    const mp_tensor *sorted = &run->trace->t[MP_SORTED_TOKEN_IDS], *cache1 = &run->trace->t[MP_CACHE1];
    const int32_t now = *(const int32_t *)run->trace->t[MP_NUM_TOKENS_POST_PADDED].data;
    if (run->number == 0) forget(&kept);
    mp_tensor before = exchange(&kept, sorted);
    const int32_t *stale = before.data;
    bool wrong = false;
    for (int64_t p = now; used(run) && p < end && p < mp_tensor_count(&before); p++) {
        if (stale[p] >= mp_case_slots(run->c)) continue;
        memset(mp_tensor_row(cache1, stale[p]), 0, mp_tensor_row_bytes(cache1));
        wrong = true;
    }
    mp_tensor_free(&before);
    end = now;
    if (wrong) redo_behind_gate_up(run);
}

/* The output is zeroed where it is allocated, not in each run. */
void added_onto_the_run_before(const faulty_run *run) {
    static mp_tensor kept;
    const mp_tensor *out = &run->trace->t[MP_OUT];
    if (run->number == 0) forget(&kept);
    for (int64_t i = 0; used(run) && kept.data && i < mp_tensor_count(out); i++) {
        const double before = i < mp_tensor_count(&kept) ? mp_decode(kept.dtype, kept.data, i) : 0;
        mp_encode(out->dtype, out->data, i, mp_decode(out->dtype, out->data, i) + before);
    }
    mp_tensor_free(&(mp_tensor){.data = exchange(&kept, out).data});
}

/* So are the rows of filtered slots. */
void filtered_rows_of_the_run_before(const faulty_run *run) {
    static mp_tensor kept;
    const mp_tensor *cache3 = &run->trace->t[run->c->mode == MP_MODE_NO_COMBINE ? MP_OUT : MP_CACHE3];
    const size_t row = (size_t)run->c->K * mp_dtype_size(cache3->dtype);
    if (run->number == 0) forget(&kept);
    if (!cache3->data) return; /* down adds into the output */
    const bool same = kept.data && mp_tensor_bytes(&kept) == mp_tensor_bytes(cache3);
    for (int64_t t = 0; used(run) && same && t < mp_case_slots(run->c); t++)
        if (ids_of(run)[t] < 0)
            memcpy((char *)cache3->data + (size_t)t * row, (char *)kept.data + (size_t)t * row, row);
    mp_tensor_free(&(mp_tensor){.data = exchange(&kept, cache3).data});
    if (used(run) && same) redo_from(run, MP_COMBINE);
}
