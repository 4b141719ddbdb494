/* SPDX-License-Identifier: Apache-2.0 */
/* Inside this tree: what makes inputs, by the counter-based generator of base/mix.h. */
#ifndef MP_CASES_FILL_H
#define MP_CASES_FILL_H

#include "base/mix.h"
#include "cases/numbers.h"
#include "moeparity/inputs.h"

/* Streams beside the tensors' own, which are numbered in mp_tensors, below MP_STREAMS. */
enum { MP_STREAM_FILTER = 32, MP_STREAM_HOT, MP_STREAM_TOKEN, MP_STREAM_SENTINEL, MP_STREAMS = 64 };

static inline uint64_t mp_stream_key(int64_t seed, int stream) {
    return mp_mix(mp_mix((uint64_t)seed) + (uint64_t)stream + 1);
}

/* What the tensor is made of by the case's data family: all but ids, maps and router weights, and but for
 * what data=unused and filtered slots make of it later. */
mp_numbers mp_numbers_of(const mp_case *c, mp_tensor_id which);
mp_code_format mp_code_format_of(mp_dtype dtype); /* around no zero */
/* Fills it with these. */
void mp_fill_tensor(const mp_case *c, mp_tensor_id which, mp_tensor *t);
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
