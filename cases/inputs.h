/* Inputs of a case: filled by data family, routing family and seed.
 *
 * Every element is a function of (seed, tensor, index) alone: the same bits at any thread count, on any
 * machine, in any order. Only integer operations, exact scalings and single correct roundings are used, no
 * libm.
 */
#ifndef MP_CASES_INPUTS_H
#define MP_CASES_INPUTS_H

#include "base/tensor.h"
#include "cases/case.h"

#define MP_FILL_VERSION 1 /* goes into goldens: raise it when any family's bits change */

/* Shapes (absent tensors have data == NULL):
 *   x [M,K] dtype, w1 [E,2N or N,K] dtype, w2 [E,K,N] dtype, b1 [E,2N or N] dtype, b2 [E,K] dtype (bias
 *   only), topk_ids [M,topk] int32 in [-1,E), topk_weights [M,topk] fp32.
 * scope=align: only topk_ids. scope=act: only cache1 [M*topk, 2N or N] dtype, and topk_ids. scope=combine:
 * only cache3 [M,topk,K] dtype, and topk_ids. */
typedef enum mp_input {
    MP_X,
    MP_W1,
    MP_W2,
    MP_B1,
    MP_B2,
    MP_TOPK_IDS,
    MP_TOPK_WEIGHTS,
    MP_IN_CACHE3,
    MP_IN_CACHE1,
    MP_INPUT_COUNT
} mp_input;

typedef struct mp_inputs {
    mp_tensor t[MP_INPUT_COUNT];
    bool borrowed[MP_INPUT_COUNT]; /* data belongs to another mp_inputs (mp_inputs_select) */
} mp_inputs;

const char *mp_input_name(mp_input which);
/* Shapes only: what mp_inputs_create would allocate. A tensor that the case does not have keeps rank 0. */
void mp_inputs_plan(const mp_case *c, mp_inputs *in);
mp_status mp_inputs_create(const mp_case *c, mp_inputs *in, mp_error *err);
void mp_inputs_destroy(mp_inputs *in);
/* The tokens rows[0..count) of `in`, in that order, as inputs of a case with M=count; weights and biases are
 * borrowed. */
mp_status mp_inputs_select(const mp_inputs *in, const int64_t *rows, int64_t count, mp_inputs *out,
                           mp_error *err);
/* One digest over all tensors present. */
uint64_t mp_inputs_digest(const mp_inputs *in);
/* Every id in [-1, E): MP_EINPUT names token, slot and value otherwise. */
mp_status mp_inputs_check_ids(const mp_case *c, const mp_inputs *in, mp_error *err);

#endif
