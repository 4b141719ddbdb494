/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/numbering.h"

#include "cases/fill.h"

bool mp_case_numbers_ids(const mp_case *c) {
    return c->expert_map != MP_MAP_NONE || c->sentinel != MP_SENTINEL_MINUS_ONE;
}

int64_t mp_case_counted_experts(const mp_case *c) {
    return c->expert_map ? c->E * c->ep_size : c->E;
}

int64_t mp_local_expert(const mp_case *c, int64_t global) {
    if (global < 0) return -1;
    if (c->expert_map == MP_MAP_ROUND_ROBIN)
        return global % c->ep_size == c->ep_rank ? global / c->ep_size : -1;
    const int64_t local = global - c->ep_rank * c->E;
    return local >= 0 && local < c->E ? local : -1;
}

int64_t mp_global_expert(const mp_case *c, int64_t local) {
    return c->expert_map == MP_MAP_ROUND_ROBIN ? local * c->ep_size + c->ep_rank : c->ep_rank * c->E + local;
}

/* any: -1, E, one of the next, and the largest that there is, each as often as the others. */
static int32_t sentinel_of(const mp_case *c, int64_t slot) {
    const uint64_t bits = mp_bits(mp_stream_key(c->seed, MP_STREAM_SENTINEL), (uint64_t)slot);
    const int32_t first = (int32_t)mp_case_counted_experts(c);
    if (c->sentinel == MP_SENTINEL_MINUS_ONE) return -1;
    if (c->sentinel == MP_SENTINEL_E) return first;
    const int32_t any[4] = {-1, first, first + 1 + (int32_t)mp_below(mp_mix(bits), 65536), INT32_MAX};
    return any[bits >> 62];
}

int32_t mp_numbered_id(const mp_case *c, int64_t slot, int64_t global) {
    if (global >= 0 && c->expert_map) return (int32_t)global;
    const int64_t local = mp_local_expert(c, global);
    return local < 0 ? sentinel_of(c, slot) : (int32_t)local;
}

void mp_fill_expert_map(const mp_case *c, const mp_tensor *map) {
    int32_t *local = map->data;
    for (int64_t e = 0; e < c->E * c->ep_size; e++) local[e] = (int32_t)mp_local_expert(c, e);
}

void mp_read_numbered_ids(const mp_case *c, const int32_t *numbered, const int32_t *expert_map,
                          int32_t *topk_ids) {
    const int64_t experts = mp_case_counted_experts(c);
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++) {
        const int32_t id = numbered[slot];
        const bool known = id >= 0 && id < experts;
        topk_ids[slot] = !known ? -1 : expert_map ? expert_map[id] : id;
    }
}
