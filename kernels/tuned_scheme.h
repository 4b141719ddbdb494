/* SPDX-License-Identifier: Apache-2.0 */
/* What names of tuned files say of quantisation, and which schemes of cases they mean. */
#ifndef MP_KERNELS_TUNED_SCHEME_H
#define MP_KERNELS_TUNED_SCHEME_H

#include "kernels/loader.h"

/* Fills dtype, block_n, block_k and per_channel: what the case's files are asked for by. dtype is "" where no
 * name tells the scheme. */
void mp_tuned_key_of_case(const mp_case *c, mp_tuned_key *key);

/* Sets dtype, quant and group of a case that such a file serves: of several schemes with one name the first,
 * and bf16 where the name leaves the model's format open. False, and the case as it was: no scheme here has
 * the dtype, or such blocks of scales. */
bool mp_tuned_case_of_name(const mp_tuned_parts *name, mp_case *c);

#endif
