/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_lanes.h"

#include "base/clones.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* A lane each. */
typedef float floats __attribute__((vector_size(4 * MP_TC_LANES)));
typedef int32_t ints __attribute__((vector_size(4 * MP_TC_LANES)));
typedef uint32_t words __attribute__((vector_size(4 * MP_TC_LANES)));
typedef double doubles __attribute__((vector_size(8 * MP_TC_LANES)));
typedef int64_t longs __attribute__((vector_size(8 * MP_TC_LANES)));

/* A float32's exponent field. Nonzero products of operands that are not small are at least
 * 2^(2*(-16-31)) = 2^-94: a step whose largest product is not above the floor has none but zeros, or small
 * ones. 2^(floor-25) is a normal number, and so are the scales of 2^(25-floor). */
enum { SHIFT = 23, BIAS = 127, FIELD = 0xFF << SHIFT, FLOOR = (BIAS - 96) << SHIFT };

/* float64 keeps 52 fraction bits, a float32 accumulator 23, cut towards zero. */
#define KEPT (-(INT64_C(1) << 29))

void mp_tc_lanes_exponents(int64_t k, const float *a, int32_t *exponents) {
    for (int64_t i = 0; i < k; i++) {
        int32_t bits;
        memcpy(&bits, &a[i], sizeof bits);
        exponents[i] = (bits & FIELD) - (BIAS << SHIFT);
    }
}

/* Vectors are neither arguments nor results: how those are passed depends on the processor. */
INLINE void raise_to(ints *x, const ints *least) {
    for (int i = 0; i < MP_TC_LANES; i++) (*x)[i] = (*least)[i] > (*x)[i] ? (*least)[i] : (*x)[i];
}

INLINE void lower_to(ints *x, const ints *most) {
    const ints which = *most < *x;
    *x = (*most & which) | (*x & ~which);
}

typedef struct accumulators {
    floats value;
    ints lowest; /* of the largest exponents of the steps' products */
} accumulators;

/* A product's exponent is the sum of its operands'; a zero's field is 0, which makes the sum less than the
 * floor. */
INLINE void step(int group, int fraction_bits, const float *a, const int32_t *a_exponent, const uint32_t *w,
                 accumulators *acc) {
    enum { TERMS_OF_A_SUM = 8 }; /* of less than 2^27 units each: they fit into 31 bits */
    floats product[16];
    ints e = (ints){0} + FLOOR;
#pragma GCC unroll 16
    for (int k = 0; k < group; k++) {
        words pair;
        memcpy(&pair, w + k / 2 * MP_TC_LANES, sizeof pair);
        const words number = k % 2 == 0 ? pair << 16 : pair & 0xFFFF0000;
        const ints exponent = (ints)(number & FIELD) + a_exponent[k];
        product[k] = (floats)number * a[k];
        raise_to(&e, &exponent);
    }
    lower_to(&acc->lowest, &e);
    const ints own = (ints)acc->value & FIELD;
    raise_to(&e, &own);
    const floats unit = (floats)(e - (fraction_bits << SHIFT)),
                 to_units = (floats)(((uint32_t)(2 * BIAS + fraction_bits) << SHIFT) - (words)e);
    doubles total = __builtin_convertvector(__builtin_convertvector(acc->value * to_units, ints), doubles);
#pragma GCC unroll 2
    for (int k = 0; k < group; k += TERMS_OF_A_SUM) {
        ints sum = {0};
#pragma GCC unroll 8
        for (int i = 0; i < TERMS_OF_A_SUM; i++)
            sum += __builtin_convertvector(product[k + i] * to_units, ints); /* cut towards zero */
        total += __builtin_convertvector(sum, doubles);
    }
    total = (doubles)((longs)total & KEPT);
    acc->value = __builtin_convertvector(total, floats) * unit;
}

INLINE void steps(const mp_tc_lanes *l, int group, bool by_pairs, accumulators *acc) {
    floats sum = {0};
    for (int64_t g = 0; g < l->groups; g++) {
        const int64_t k = g * group;
        step(group, l->fraction_bits, l->a + k, l->a_exponent + k, l->w + k / 2 * MP_TC_LANES, acc);
        if (by_pairs && g % 2 == 1) {
            sum += acc->value;
            acc->value = (floats){0};
        }
    }
    if (by_pairs) acc->value = sum;
}

MP_CLONES static void run(const mp_tc_lanes *l, float *result, int32_t *lowest) {
    accumulators acc = {.lowest = (ints){0} + FIELD};
    if (l->by_pairs)
        steps(l, 16, true, &acc);
    else if (l->group == 16)
        steps(l, 16, false, &acc);
    else
        steps(l, 8, false, &acc);
    memcpy(result, &acc.value, sizeof acc.value);
    memcpy(lowest, &acc.lowest, sizeof acc.lowest);
}

void mp_tc_lanes_run(const mp_tc_lanes *lanes, float result[MP_TC_LANES], bool certain[MP_TC_LANES]) {
    int32_t lowest[MP_TC_LANES];
    run(lanes, result, lowest);
    for (int i = 0; i < MP_TC_LANES; i++) certain[i] = lowest[i] > FLOOR;
}
