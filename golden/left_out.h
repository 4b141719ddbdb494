/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_GOLDEN_LEFT_OUT_H
#define MP_GOLDEN_LEFT_OUT_H

#include "golden/tree.h"
#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"

/* Which rows of a tensor of a trace hold nothing that the contract promises: padding, and slots that are
 * filtered and not zeros. Among the words of a tree one of them would make its whole group differ. *left_out
 * is a set of bits as in golden/tree.h, freed by the caller; NULL where every row counts, and for tensors of
 * at most MP_TREE_GROUP rows, of which each has its own digest. inputs: with topk_ids; NULL: unknown, and
 * every slot counts. MP_EMEMORY. */
mp_status mp_rows_left_out(const mp_case *c, const mp_contract *contract, const mp_trace *trace,
                           const mp_inputs *inputs, mp_tensor_id id, uint8_t **left_out, mp_error *err);

#endif
