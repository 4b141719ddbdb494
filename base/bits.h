/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point numbers as bits. */
#ifndef MP_BASE_BITS_H
#define MP_BASE_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t mp_bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float mp_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t mp_bits_of_double(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double mp_double_of_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 2^exponent, a normal number: -1022 <= exponent <= 1023. A loop of it vectorises, which one of ldexp does
 * not. */
static inline double mp_power_of_two(int exponent) {
    return mp_double_of_bits((uint64_t)(exponent + 1023) << 52);
}

#endif
