/* SPDX-License-Identifier: Apache-2.0 */
/* Random bits by counting, and digests made of them: one source for CPU and GPU, integers alone. */
#ifndef MP_BASE_MIX_H
#define MP_BASE_MIX_H

#ifdef __CUDACC_RTC__
#define MP_MIX __device__ __forceinline__
typedef unsigned long long mp_u64;
typedef long long mp_i64;
#else
#include <stdint.h>
typedef uint64_t mp_u64;
typedef int64_t mp_i64;
#define MP_MIX static inline
#endif

/* SplitMix64's finaliser: a bijection of 64 bits in which every input bit changes every output bit with
 * probability near 1/2. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
 * 2014, with Stafford's constants "Mix13". */
MP_MIX mp_u64 mp_mix(mp_u64 z) {
    z = (z ^ (z >> 30)) * (mp_u64)0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * (mp_u64)0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

/* The random bits of element `index` of a stream; streams with different keys are unrelated. Stepping by the
 * golden ratio (2^64/phi, odd) is SplitMix64's own sequence, here entered at any index. */
MP_MIX mp_u64 mp_bits(mp_u64 key, mp_u64 index) {
    return mp_mix(key + index * (mp_u64)0x9E3779B97F4A7C15ull);
}

/* Uniform integer in [0, n): the high half of a 64x64 product (Lemire 2019, without the rejection: bias below
 * n/2^64). */
MP_MIX mp_i64 mp_below(mp_u64 bits, mp_i64 n) {
#ifdef __CUDACC_RTC__
    return (mp_i64)__umul64hi(bits, (mp_u64)n);
#else
    return (mp_i64)(((unsigned __int128)bits * (unsigned __int128)n) >> 64);
#endif
}

/* The digest of a row of bytes is the sum, modulo 2^64, of this over its words of four bytes, the first byte
 * lowest, a last one filled up with zeros. The order of the additions does not matter, the place of a word
 * does: threads add what they have. */
MP_MIX mp_u64 mp_digest_of_word(unsigned word, mp_u64 index) {
    return mp_bits(word, index + 1);
}

/* Bytes of a word that lies anywhere; missing ones are zero. */
MP_MIX unsigned mp_word_of_bytes(const unsigned char *at, int bytes) {
    unsigned word = 0;
    for (int i = 0; i < bytes; i++) word |= (unsigned)at[i] << (8 * i);
    return word;
}

#ifndef __CUDACC_RTC__
static inline mp_u64 mp_digest_of_bytes(const unsigned char *at, mp_u64 bytes) {
    mp_u64 sum = 0;
    for (mp_u64 i = 0; i < bytes; i += 4)
        sum += mp_digest_of_word(mp_word_of_bytes(at + i, bytes - i < 4 ? (int)(bytes - i) : 4), i / 4);
    return sum;
}
#endif

#endif
