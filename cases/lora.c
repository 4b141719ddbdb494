/* SPDX-License-Identifier: Apache-2.0 */
/* Families of adapters: which one a token has is a function of (seed, token) alone.
 *
 *   mixed      one of the adapters or none, equally likely
 *   uniform    one of the adapters
 *   one        the last adapter, every token
 *   base       none, every token
 *   empty      one of the even ones: the odd slots have no token
 *   requests   runs of 1 to 8 tokens, each as in mixed: requests of a prefill, one after the other
 *
 * Of lora_disabled, spread evenly over the slots, adapter_enabled is 0. */
#include "cases/lora.h"

#include "cases/case_tools.h"
#include "cases/fill.h"
#include "cases/graph_tables.h"

#include <math.h>
#include <string.h>

int64_t mp_lora_experts(const mp_case *c, mp_tensor_id factor) {
    const bool outer = factor == MP_LORA_A1 || factor == MP_LORA_B2;
    return outer && c->lora_outer == MP_LORA_OUTER_SHARED ? 1 : c->E;
}

/* Every 8 tokens are cut in two by hash, so that where a run begins needs no tokens before it. */
static int64_t run_of(uint64_t key, int64_t m) {
    enum { LONGEST = 8 };
    const int64_t group = m / LONGEST, cut = mp_below(mp_bits(~key, (uint64_t)group), LONGEST);
    return 2 * group + (m % LONGEST > cut);
}

static int64_t adapter_of(const mp_case *c, uint64_t key, int64_t m) {
    const int64_t adapters = c->lora_adapters;
    const uint64_t bits = mp_bits(key, (uint64_t)m);
    switch (c->lora_routing) {
    case MP_LORA_MIXED: return mp_below(bits, adapters + 1) - 1;
    case MP_LORA_UNIFORM: return mp_below(bits, adapters);
    case MP_LORA_ONE: return adapters - 1;
    case MP_LORA_EMPTY: return 2 * mp_below(bits, (adapters + 1) / 2);
    case MP_LORA_REQUESTS: return mp_below(mp_bits(key, (uint64_t)run_of(key, m)), adapters + 1) - 1;
    case MP_LORA_BASE:
    case MP_LORA_ROUTING_COUNT: break;
    }
    return -1;
}

void mp_fill_token_lora(const mp_case *c, mp_tensor *t) {
    const uint64_t key = mp_stream_key(c->seed, mp_tensors[MP_TOKEN_LORA].stream);
    int32_t *adapter = t->data;
    for (int64_t m = 0; m < c->M; m++) adapter[m] = (int32_t)adapter_of(c, key, m);
}

void mp_fill_adapter_enabled(const mp_case *c, mp_tensor *t) {
    int32_t *enabled = t->data;
    for (int64_t l = 0; l < c->lora_adapters; l++)
        enabled[l] = !(floor((double)(l + 1) * c->lora_disabled) > floor((double)l * c->lora_disabled));
}

void mp_fill_segments(const mp_case *c, const mp_tensor *token_lora, mp_tensor *seg_indptr,
                      mp_tensor *req_to_lora) {
    const int32_t *adapter = token_lora->data;
    int32_t *start = seg_indptr->data, *slot = req_to_lora->data;
    const int64_t segments = mp_lora_segments(c);
    int64_t runs = 0, n = 0;
    for (int64_t m = 0; m < c->M; m++) runs += m == 0 || adapter[m] != adapter[m - 1];
    int64_t empty = segments - runs;
    start[0] = 0;
    for (int64_t m = 0, end; m < c->M; m = end, n++) {
        for (end = m + 1; end < c->M && adapter[end] == adapter[m]; end++) {}
        if (empty > 0) { /* before the run, with another adapter than its own */
            slot[n] = (int32_t)((adapter[m] + 1) % c->lora_adapters);
            start[++n] = (int32_t)m;
            empty--;
        }
        slot[n] = adapter[m];
        start[n + 1] = (int32_t)end;
    }
    for (; n < segments; n++) {
        slot[n] = (int32_t)(n % c->lora_adapters);
        start[n + 1] = (int32_t)c->M;
    }
}

int64_t mp_lora_rank_of(const mp_case *c, int64_t adapter) {
    return c->lora_ranks == MP_LORA_FULL ? c->lora_rank
                                         : (int64_t)mp_smaller_rank((mp_u64)c->lora_rank, (mp_u64)adapter);
}

/* Beyond an adapter's rank rows of A and columns of B are zeros, or A has there what the family has. */
void mp_set_factor(const mp_case *c, mp_tensor_id factor, const mp_tensor *t, mp_numbers *n) {
    const bool a = factor == MP_LORA_A1 || factor == MP_LORA_A2,
               outer = factor == MP_LORA_A1 || factor == MP_LORA_B2;
    const int64_t experts = mp_lora_experts(c, factor);
    n->matrix_rows = (mp_u64)t->dim[1];
    n->copies = outer && c->lora_outer == MP_LORA_OUTER_COPIES ? (mp_u64)c->E : 1;
    n->different = c->lora_data == MP_LORA_SAME ? (mp_u64)experts : 0;
    n->adapter_rows = (mp_u64)(experts * t->dim[1]);
    n->rank = (mp_u64)c->lora_rank;
    if (c->lora_data == (a ? MP_LORA_ZERO_A : MP_LORA_ZERO_B)) n->rule.style = MP_STYLE_ZERO;
    if (c->lora_ranks == MP_LORA_FULL || (a && c->lora_ranks == MP_LORA_GARBAGE)) return;
    n->cut = a ? MP_CUT_ROWS : MP_CUT_COLUMNS;
}

int64_t mp_lora_of_slot(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], int64_t slot) {
    const int32_t *adapter = t[MP_TOKEN_LORA].data, *enabled = t[MP_ADAPTER_ENABLED].data,
                  *ids = t[MP_TOPK_IDS].data;
    const int64_t l = adapter[slot / c->topk], expert = ids[slot];
    const bool has = l >= 0 && l < c->lora_adapters && enabled[l] && expert >= 0 && expert < c->E;
    return has ? l : -1;
}

/* ---- what must be the same ---- */

static void copy_lora_fields(mp_case *to, const mp_case *from) {
    to->lora_adapters = from->lora_adapters;
    to->lora_rank = from->lora_rank;
    to->lora_map = from->lora_map;
    to->lora_routing = from->lora_routing;
    to->lora_disabled = from->lora_disabled;
    to->lora_ranks = from->lora_ranks;
    to->lora_outer = from->lora_outer;
    to->lora_data = from->lora_data;
}

bool mp_lora_same_fields(const mp_case *a, const mp_case *b) {
    mp_case same = *a;
    copy_lora_fields(&same, b);
    return mp_case_compare(&same, a) == 0;
}

mp_case mp_lora_problem(const mp_case *c) {
    const mp_case plain = mp_case_default();
    mp_case p = *c;
    const bool all_have_one = c->lora_routing == MP_LORA_UNIFORM || c->lora_routing == MP_LORA_ONE ||
                              c->lora_routing == MP_LORA_EMPTY;
    const bool nothing = c->lora_routing == MP_LORA_BASE || c->lora_disabled == 1 ||
                         c->lora_data == MP_LORA_ZERO_A || c->lora_data == MP_LORA_ZERO_B;
    if (nothing) copy_lora_fields(&p, &plain);
    p.lora_map = MP_LORA_BY_TOKEN;
    if (p.lora_outer == MP_LORA_OUTER_COPIES) p.lora_outer = MP_LORA_OUTER_SHARED;
    if (p.lora_data == MP_LORA_SAME && all_have_one && p.lora_disabled == 0 && p.lora_ranks == MP_LORA_FULL) {
        p.lora_adapters = 1;
        p.lora_routing = MP_LORA_UNIFORM;
    }
    return p;
}
