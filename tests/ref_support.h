/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of ref/ share: a seeded random sequence, bit comparison, and a case with its inputs. */
#ifndef MP_TESTS_REF_SUPPORT_H
#define MP_TESTS_REF_SUPPORT_H

#include "moeparity/inputs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Knuth's MMIX generator, its weak low bits dropped: reproducible, and no relative of the product's own. */
typedef struct rng {
    uint64_t state;
} rng;

static inline uint32_t random_bits(rng *r) {
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(r->state >> 32);
}
static inline int64_t random_below(rng *r, int64_t n) {
    return (int64_t)random_bits(r) % n;
}
/* Uniform in [-1, 1). */
static inline double random_unit(rng *r) {
    return (double)random_bits(r) * 0x1p-31 - 1;
}
/* Exponents uniform in [low, high), random sign. */
static inline double random_wide(rng *r, int low, int high) {
    return ldexp(random_unit(r), low + (int)random_below(r, high - low));
}
static inline void random_order(rng *r, int64_t *order, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = random_below(r, i + 1);
        order[i] = i;
        order[i] = order[j];
        order[j] = i;
    }
}

static inline void *allocated(int64_t count, size_t size) {
    void *memory = calloc((size_t)(count > 0 ? count : 1), size);
    assert_non_null(memory);
    return memory;
}

static inline mp_tensor allocated_tensor(mp_dtype dtype, int64_t d0, int64_t d1, int64_t d2) {
    mp_error err;
    mp_tensor t = mp_tensor_shape(dtype, d2 ? 3 : 2, d0, d1, d2);
    if (mp_tensor_alloc(&t, MP_POISON_A, &err)) fail_msg("%s", err.text);
    return t;
}

static inline bool same_memory(const mp_tensor *a, const mp_tensor *b) {
    const size_t bytes = mp_tensor_bytes(a); /* absent tensors have none, and no data to hand to memcmp */
    return bytes == mp_tensor_bytes(b) && (bytes == 0 || !memcmp(a->data, b->data, bytes));
}

typedef struct fixture {
    mp_case c;
    mp_inputs in;
} fixture;

static inline mp_case case_of(const char *text) {
    mp_error err;
    mp_case c = mp_case_default();
    if (mp_case_parse(&c, text, &err)) fail_msg("'%s': %s", text, err.text);
    return c;
}

static inline fixture made(const char *text) {
    mp_error err;
    fixture f = {.c = case_of(text)};
    if (mp_inputs_create(&f.c, &f.in, &err)) fail_msg("'%s': %s", text, err.text);
    return f;
}

#endif
