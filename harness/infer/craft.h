/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs that put given numbers before a sum: where data families would take long to tell two orders
 * apart. */
#ifndef MP_HARNESS_CRAFT_H
#define MP_HARNESS_CRAFT_H

#include "moeparity/inputs.h"

/* The number at place k of token m's sum. */
typedef double mp_craft_value(const void *ctx, int64_t m, int64_t k);

/* What the stage sums over k, gate_up (x) or down (cache2, scope=down), with topk=1 and E=1: token m's
 * numbers; every weight is `weight`, every router weight 1. */
void mp_craft_rows(const mp_case *c, mp_stage stage, mp_craft_value *value, const void *ctx, double weight,
                   mp_inputs *in);

/* Gates and ups of act: element n of token m is pair (m * N + n) mod count. With scope=act they are written
 * into cache1. With scope=all, of one expert and tokens that are all alike, they are the rows of w1 that x
 * picks: element n is pair n mod count. There an up of -0 comes out where the tensor has 16 bits. */
void mp_craft_pairs(const mp_case *c, const double (*pair)[2], int count, mp_inputs *in);

/* combine's slots, E = topk: cache3[m, j] is token m's number j in every column, exact in its format. With
 * scope=combine they are written into cache3. With scope=all they are the router weights, for everything
 * before them is 1: a gate of 32, of which an activation makes 32, times an up of 1/32;
 * mp_crafted_slots_are_right then says, where cache3 is shown, whether it came out so. */
void mp_craft_slots(const mp_case *c, mp_craft_value *value, const void *ctx, mp_inputs *in);
bool mp_crafted_slots_are_right(const mp_case *c, mp_craft_value *value, const void *ctx,
                                const mp_tensor *cache3);

#endif
