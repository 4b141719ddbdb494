/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of which the host has none yet: a device makes all of them where a subject reads them, and who
 * reads them here asks for the experts that it reads (mp_tensor_make). Memory of experts that nobody has
 * asked for cannot be read: who forgets to ask is stopped, and does not read zeros. */
#ifndef MP_CASES_DEFERRED_H
#define MP_CASES_DEFERRED_H

#include "cases/normal.h"
#include "moeparity/inputs.h"

/* Whether the tensor's numbers are so made that a device can make them: weights of floats of 16 bits. */
bool mp_fills_by_normal(const mp_case *c, mp_tensor_id id, mp_normal *normal);

/* In place of mp_tensor_alloc and a fill. To be freed by mp_tensor_free. */
mp_status mp_defer_weights(const mp_case *c, mp_tensor_id id, mp_tensor *t, mp_error *err);
/* How a device makes them, or NULL: they are no such weights. */
const mp_normal *mp_deferred_normal(const mp_tensor *t);
/* Stands for the digest of the content, which it follows from. Never 0. */
uint64_t mp_deferred_digest(const mp_tensor *t);

#endif
