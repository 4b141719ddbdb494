/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of which the host has nothing yet: a device makes all of a tensor where a subject reads it, and who
 * reads it here asks for the matrices or rows that it reads (mp_tensor_make). Memory of what nobody has asked
 * for cannot be read: who forgets to ask is stopped, and does not read zeros. */
#ifndef MP_CASES_DEFERRED_H
#define MP_CASES_DEFERRED_H

#include "cases/numbers.h"
#include "moeparity/inputs.h"

/* A page that is touched for the first time costs more than its numbers; less is filled in moments. */
#define MP_DEFER_FROM_BYTES ((size_t)64 << 20)

/* Whether a device can make the input, and who reads it on the host asks for it: weights, LoRA's factors and
 * activations that have the numbers of mp_numbers_of alone. Of the others, biases, scales, zero points, ids,
 * router weights, the host reads all, and they are small beside these. */
bool mp_can_be_deferred(const mp_case *c, mp_tensor_id id);

/* In place of mp_tensor_alloc and a fill. To be freed by mp_tensor_free. What is chosen of its rows is
 * deferred, too, from so many bytes on. */
mp_status mp_defer_tensor(const mp_case *c, mp_tensor_id id, size_t from_bytes, mp_tensor *t, mp_error *err);
/* Whether so many bytes that are chosen of a tensor are deferred as it is; and does it: of t as many tokens
 * as fit, of `each` rows, those of these numbers. */
bool mp_defers_selection(const mp_tensor *from, size_t bytes);
mp_status mp_defer_selection(const mp_tensor *from, const int64_t *tokens, int64_t each, mp_tensor *t,
                             mp_error *err);
/* How a device makes it, or NULL: it is no such tensor. */
const mp_numbers *mp_deferred_numbers(const mp_tensor *t);
const int64_t *mp_deferred_source(const mp_tensor *t); /* [rows] of these numbers; NULL: each its own */
/* Whether nobody has said yet what the largest numbers of its matrices are: until then the largest that there
 * can be stands for them. */
bool mp_deferred_lacks_largest(const mp_tensor *t);
/* Of weights as many as there are experts or factors, of activations one: all of them. */
int64_t mp_deferred_matrices(const mp_tensor *t);
/* They are these, of each matrix as mp_code_magnitude has it: a device has looked. MP_EDEVICE for
 * such as cannot be, of which some numbers are larger that are counted here. */
mp_status mp_deferred_take_largest(const mp_tensor *t, const unsigned *magnitude, mp_error *err);
/* MP_EDEVICE where what was taken are not the largest of all numbers that there are. */
mp_status mp_deferred_confirm_largest(const mp_tensor *t, mp_error *err);
/* Stands for the digest of the content, which it follows from. Never 0. */
uint64_t mp_deferred_digest(const mp_tensor *t);

#endif
