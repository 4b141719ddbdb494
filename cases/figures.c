/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/figures.h"

#include "cases/fill.h"

#include <stdlib.h>

enum { LARGEST_BLOCK_BIT = 8 }; /* 256 is the largest BLOCK_SIZE_M */

static void count_experts(const mp_case *c, const int64_t *slots_of, mp_figures *f) {
    for (int64_t e = 0; e < c->E; e++) {
        const int64_t n = slots_of[e];
        if (n == 0) continue;
        f->experts_used++;
        f->blocks += (n + 15) / 16;
        f->last_expert = e;
        if (n > f->fullest) f->fullest = n;
        if (f->emptiest_used == 0 || n < f->emptiest_used) f->emptiest_used = n;
        for (int b = 0; b <= LARGEST_BLOCK_BIT; b++)
            if (n > INT64_C(1) << b && n % (INT64_C(1) << b) != 0) f->row_tails |= 1u << b;
    }
}

/* seen[e] == m+1: token m has had expert e. */
static void count_token(const mp_case *c, int64_t m, const int32_t *ids, int64_t *slots_of, int64_t *seen,
                        mp_figures *f) {
    int64_t routed = 0;
    bool repeats = false;
    for (int64_t j = 0; j < c->topk; j++) {
        if (ids[j] < 0) continue;
        routed++;
        slots_of[ids[j]]++;
        repeats = repeats || seen[ids[j]] == m + 1;
        seen[ids[j]] = m + 1;
        f->last_slot = m * c->topk + j;
    }
    f->routed += routed;
    f->filtered += c->topk - routed;
    f->tokens_unrouted += routed == 0;
    f->tokens_mixed += routed > 0 && routed < c->topk;
    f->tokens_repeating += repeats;
    if (routed > 0) f->last_token = m;
}

mp_status mp_figures_of(const mp_case *c, mp_figures *f, mp_error *err) {
    *f = (mp_figures){.last_token = -1, .last_slot = -1, .last_expert = -1};
    if (c->data == MP_FROM_FILE)
        return mp_fail(err, MP_EINPUT, "data=file: the ids of this case are in a file, and no family's");
    mp_tensor ids = mp_case_shape(c, MP_TOPK_IDS, 16);
    int64_t *counts = calloc((size_t)c->E * 2, sizeof *counts);
    mp_status status =
        counts ? mp_tensor_alloc(&ids, MP_POISON_A, err)
               : mp_fail(err, MP_EMEMORY, "no memory to count the slots of %lld experts", (long long)c->E);
    if (status == MP_OK) status = mp_fill_topk_ids(c, false, &ids, err);
    for (int64_t m = 0; status == MP_OK && m < c->M; m++)
        count_token(c, m, (const int32_t *)ids.data + m * c->topk, counts, counts + c->E, f);
    if (status == MP_OK) count_experts(c, counts, f);
    mp_tensor_free(&ids);
    free(counts);
    return status;
}
