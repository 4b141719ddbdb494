/* SPDX-License-Identifier: Apache-2.0 */
/* Inside this tree: the counter-based generator, and what makes inputs asks of it. */
#ifndef MP_CASES_FILL_H
#define MP_CASES_FILL_H

#include "moeparity/inputs.h"

/* SplitMix64's finaliser: a bijection of 64 bits in which every input bit changes every output bit with
 * probability near 1/2. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
 * 2014, with Stafford's constants "Mix13". */
static inline uint64_t mp_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The random bits of element `index` of a stream; streams with different keys are unrelated. Stepping by the
 * golden ratio (2^64/phi, odd) is SplitMix64's own sequence, here entered at any index. */
static inline uint64_t mp_bits(uint64_t key, uint64_t index) {
    return mp_mix(key + index * UINT64_C(0x9E3779B97F4A7C15));
}

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
