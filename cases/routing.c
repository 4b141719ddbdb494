/* SPDX-License-Identifier: Apache-2.0 */
/* Routing families: which experts a token goes to. A token's ids are a function of (seed, token) alone.
 *
 *   uniform     distinct experts, equally likely
 *   zipf        distinct experts, the one of rank r with probability ~ 1/(r+1); ranks are experts rotated by
 *               the seed
 *   hot         one expert, chosen by the seed, is in one slot of every token; the others are uniform
 *   empty       uniform over the even experts: the odd ones get no token
 *   first       slot j goes to expert j mod E; last: to expert E-1 - j mod E
 *   duplicates  uniform with repetition, and slot 0's expert once more in another slot of the token
 *   padded      uniform; the last quarter of the tokens (at least one) is graph padding with all ids -1
 *
 * With shared=slot the last slot of every token goes to the last expert, and the family has the others.
 *
 * With ep_size ranks the experts are E*ep_size; those of ep_rank become 0..E-1 and all others -1. `filter`
 * makes ids -1 by hash, but not that of the shared expert. What a subject gets may be numbered otherwise
 * (cases/numbering.h).
 */
#include "cases/fill.h"
#include "base/threads.h"
#include "cases/graph_tables.h"
#include "cases/numbering.h"

#include <omp.h>
#include <stdlib.h>

#define REDRAWS 16 /* tries for an expert the token does not have yet; then the next free one is taken */

/* Cumulative integer weights floor(2^32/(rank+1)): at most 2^20 experts, so the sum stays far below 2^64. */
static void zipf_table(uint64_t *cumulative, int64_t experts) {
    uint64_t sum = 0;
    for (int64_t r = 0; r < experts; r++) cumulative[r] = sum += (UINT64_C(1) << 32) / (uint64_t)(r + 1);
}

static int64_t zipf_rank(const uint64_t *cumulative, int64_t experts, uint64_t bits) {
    const uint64_t target = (uint64_t)mp_below(bits, (int64_t)cumulative[experts - 1]);
    int64_t lo = 0, hi = experts - 1; /* the first rank whose cumulative weight exceeds target */
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        if (cumulative[mid] > target) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

typedef struct router {
    const mp_case *c;
    uint64_t key;
    int64_t experts, hot; /* experts, slots: those that the family has */
    int64_t slots;
    const uint64_t *cumulative; /* zipf only */
} router;

/* Draws slot j of token m. owner[e] == m+1 marks the experts the token has already: one table a thread, never
 * cleared. */
static int64_t draw(const router *r, int64_t m, int64_t j, uint32_t *owner) {
    const int64_t count = r->c->routing == MP_EMPTY ? (r->experts + 1) / 2 : r->experts;
    const int64_t stride = r->c->routing == MP_EMPTY ? 2 : 1;
    const uint32_t mark = (uint32_t)(m + 1);
    uint64_t bits = mp_bits(r->key, (uint64_t)(m * r->c->topk + j));
    int64_t i = 0;
    for (int redraw = 0; redraw < REDRAWS; redraw++, bits = mp_mix(bits)) {
        i = r->cumulative ? (zipf_rank(r->cumulative, r->experts, bits) + r->hot) % r->experts
                          : mp_below(bits, count);
        if (r->c->routing == MP_DUPLICATES || owner[i * stride] != mark) break;
    }
    while (r->c->routing != MP_DUPLICATES && owner[i * stride] == mark) i = (i + 1) % count;
    owner[i * stride] = mark;
    return i * stride;
}

/* The expert of slot j of token m; -1 where the family has no rule. */
static int64_t expert_of(const router *r, int64_t m, int64_t j, int64_t hot_slot, uint32_t *owner) {
    switch (r->c->routing) {
    case MP_FIRST: return j % r->experts;
    case MP_LAST: return r->experts - 1 - j % r->experts;
    case MP_HOT: return j == hot_slot ? r->hot : draw(r, m, j, owner);
    case MP_UNIFORM:
    case MP_ZIPF:
    case MP_EMPTY:
    case MP_DUPLICATES:
    case MP_PADDED: return draw(r, m, j, owner); /* which differ there, or around it */
    case MP_ROUTING_COUNT: break;
    }
    return -1;
}

static void route_token(const router *r, int64_t m, uint32_t *owner, int32_t *ids) {
    const mp_case *c = r->c;
    const uint64_t token = mp_bits(~r->key, (uint64_t)m);
    const int64_t hot_slot = c->routing == MP_HOT ? mp_below(token, r->slots) : -1;
    if (hot_slot >= 0) owner[r->hot] = (uint32_t)(m + 1);
    for (int64_t j = 0; j < r->slots; j++) ids[j] = (int32_t)expert_of(r, m, j, hot_slot, owner);
    if (c->routing == MP_DUPLICATES) ids[1 + mp_below(token, r->slots - 1)] = ids[0];
    if (r->slots < c->topk) ids[r->slots] = (int32_t)r->experts; /* the shared one is behind the others */
}

/* Global ids -> what this rank sees. */
static void localise(const mp_case *c, bool numbered, int64_t m, int32_t *ids) {
    const uint64_t filter_key = mp_stream_key(c->seed, MP_STREAM_FILTER);
    const double threshold =
        c->filter * 0x1p53; /* exact: a 53-bit hash is below it with probability filter */
    const int64_t padded = mp_first_padded_token(c);
    for (int64_t j = 0; j < c->topk; j++) {
        const int64_t slot = m * c->topk + j;
        const bool shared = c->shared == MP_SHARED_SLOT && j == c->topk - 1;
        const bool dropped = !shared && (double)(mp_bits(filter_key, (uint64_t)slot) >> 11) < threshold;
        const int64_t expert = m >= padded || dropped ? -1 : ids[j];
        ids[j] = numbered ? mp_numbered_id(c, slot, expert) : (int32_t)mp_local_expert(c, expert);
    }
}

mp_status mp_fill_topk_ids(const mp_case *c, bool numbered, mp_tensor *t, mp_error *err) {
    mp_status status = MP_EMEMORY;
    const int64_t shared = c->shared == MP_SHARED_SLOT, experts = c->E * c->ep_size - shared;
    const int threads = omp_get_max_threads();
    uint64_t *cumulative = c->routing == MP_ZIPF ? malloc((size_t)experts * sizeof *cumulative) : NULL;
    uint32_t *owners = calloc((size_t)threads * (size_t)experts, sizeof *owners);
    if (!owners || (c->routing == MP_ZIPF && !cumulative)) {
        mp_fail(err, status, "routing tables of %lld experts for %d threads do not fit in memory",
                (long long)experts, threads);
        goto out;
    }
    if (cumulative) zipf_table(cumulative, experts);
    const router r = {.c = c,
                      .key = mp_stream_key(c->seed, mp_tensors[MP_TOPK_IDS].stream),
                      .experts = experts,
                      .slots = c->topk - shared,
                      .hot = mp_below(mp_bits(mp_stream_key(c->seed, MP_STREAM_HOT), 0), experts),
                      .cumulative = cumulative};
#pragma omp parallel num_threads(threads) if (mp_worth_threads(c->M, 50 * c->topk))
    {
        uint32_t *owner = owners + (size_t)omp_get_thread_num() * (size_t)experts;
#pragma omp for schedule(static)
        for (int64_t m = 0; m < c->M; m++) {
            int32_t *ids = (int32_t *)t->data + m * c->topk;
            route_token(&r, m, owner, ids);
            localise(c, numbered, m, ids);
        }
    }
    status = MP_OK;
out:
    free(cumulative);
    free(owners);
    return status;
}
