/* SPDX-License-Identifier: Apache-2.0 */
/* Of 16-bit formats all pairs of gate and up that need to be looked at for one that sets two functions of the
 * activation apart, and which of them may. Private to harness/infer/. */
#ifndef MP_HARNESS_INFER_ACT_GRID_H
#define MP_HARNESS_INFER_ACT_GRID_H

#include "moeparity/dtype.h"

/* Every gate that an activation bends, 2^-4 to 2^4 of either sign, by every up from 1 to 2: another binade of
 * ups moves but the exponent. */
typedef struct mp_act_grid {
    mp_dtype dtype;
    int gates, ups;
} mp_act_grid;

/* bf16 (2048 gates, 128 ups) or fp16 (16384, 1024); ungated: one up. */
mp_act_grid mp_act_grid_of(mp_dtype dtype, bool gated);
static inline int64_t mp_act_grid_count(const mp_act_grid *g) {
    return (int64_t)g->gates * g->ups;
}
double mp_act_grid_gate(const mp_act_grid *g, int64_t gate);
double mp_act_grid_up(const mp_act_grid *g, int64_t up);
/* Gate and up of number i, which is that of marked[i] below. */
void mp_act_grid_pair(const mp_act_grid *g, int64_t i, double pair[2]);

/* marked [gates, ups], 0 or 1: whether two values of act(gate) that are near to each other may be stored as
 * two, times factor[up], or with another up if they are rounded first. That is so of some pairs in a hundred
 * thousand; all others store near values as one. Values that are not near are set apart by any up, and ask
 * for no mark.
 * value [gates, values]: act(gate) in float32 under each hypothesis; a gate's are sorted here. */
void mp_act_grid_mark(const mp_act_grid *g, float *value, int values, const float *factor, uint8_t *marked);

#endif
