/* SPDX-License-Identifier: Apache-2.0 */
/* Stage 1, align: slots sorted by expert and padded to blocks (moe_align_block_size). Integers only; the
 * definition. */
#ifndef MP_REF_ALIGN_H
#define MP_REF_ALIGN_H

#include "moeparity/status.h"

#include <stdint.h>

/* Stable counting sort of slots by expert, filtered slots (-1) first.
 * topk_ids [slots] int32 in [-1,E); offsets [E+2]: group g = expert+1 owns order[offsets[g] .. offsets[g+1]);
 * order [slots]. Slots ascend within a group. */
void mp_group_by_expert(const int32_t *topk_ids, int64_t slots, int64_t E, int64_t *offsets, int64_t *order);

/* sorted_token_ids [capacity]: per expert ascending (filtered first), its slots ascending, padded with
 * `slots` to a multiple of block_size; the rest of the array is `slots` too. expert_ids [blocks]: expert of
 * each block (-1: filtered), -1 behind the end. *num_tokens_post_padded: length in use. The arrays have the
 * sizes of mp_trace_plan. MP_EMEMORY only. */
mp_status mp_align(const int32_t *topk_ids, int64_t slots, int64_t E, int block_size,
                   int32_t *sorted_token_ids, int64_t capacity, int32_t *expert_ids, int64_t blocks,
                   int32_t *num_tokens_post_padded, mp_error *err);

#endif
