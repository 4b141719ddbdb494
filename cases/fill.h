/* SPDX-License-Identifier: Apache-2.0 */
/* Inside this tree: what makes inputs, by the counter-based generator of base/mix.h. */
#ifndef MP_CASES_FILL_H
#define MP_CASES_FILL_H

#include "base/mix.h"
#include "moeparity/inputs.h"

/* Streams beside the tensors' own, which are numbered in mp_tensors, below MP_STREAMS. */
enum { MP_STREAM_FILTER = 32, MP_STREAM_HOT, MP_STREAM_TOKEN, MP_STREAM_SENTINEL, MP_STREAMS = 64 };

static inline uint64_t mp_stream_key(int64_t seed, int stream) {
    return mp_mix(mp_mix((uint64_t)seed) + (uint64_t)stream + 1);
}

/* Uniform integer in [0, n): the high half of a 64x64 product (Lemire 2019, without the rejection: bias below
 * n/2^64). */
static inline int64_t mp_below(uint64_t bits, int64_t n) {
    return (int64_t)(((unsigned __int128)bits * (unsigned __int128)n) >> 64);
}

/* Fills x, w1, w2, b1, b2 or cache3 with the case's data family, and topk_weights. */
void mp_fill_tensor(const mp_case *c, mp_tensor_id which, mp_tensor *t);
/* Rows first .. first+count of it, of tensors that are no scales or zeros. */
void mp_fill_rows(const mp_case *c, mp_tensor_id which, mp_tensor *t, int64_t first, int64_t count);
void mp_fill_topk_weights(const mp_case *c, mp_tensor *t);
/* Whether the family's router weights are powers of two, so that weighing is exact; but for shared=slot. */
bool mp_has_exact_weights(mp_data family);
/* data=unused, once all tensors are filled: NaN and Inf into what no result may depend on. */
mp_status mp_fill_unused(const mp_case *c, mp_inputs *in, mp_error *err);
/* A slot whose expert is elsewhere contributes zeros: that is what the down GEMM leaves in its row of
 * cache3. */
void mp_zero_filtered_slots(const mp_case *c, mp_inputs *in);
/* First token that is graph padding: M unless routing=padded. */
int64_t mp_first_padded_token(const mp_case *c);
/* topk_ids by routing family, filter and expert parallelism: those of this rank's experts, or, `numbered`, as
 * a subject gets them (cases/numbering.h). */
mp_status mp_fill_topk_ids(const mp_case *c, bool numbered, mp_tensor *t, mp_error *err);

#endif
