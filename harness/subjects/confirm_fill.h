/* SPDX-License-Identifier: Apache-2.0 */
/* Before a subject is blamed: whether a device that filled inputs by itself gave it those of the case. */
#ifndef MP_HARNESS_CONFIRM_FILL_H
#define MP_HARNESS_CONFIRM_FILL_H

#include "moeparity/subject.h"

/* Makes all of what a device has made (mp_tensor_make), and compares digests with what it holds, unchanged
 * since. MP_EDEVICE names the tensor that differs. What was not made there, or lies there no more, is passed
 * over. */
mp_status mp_confirm_fill(const mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_error *err);

#endif
