/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of any number format as float64, which holds them all. */
#ifndef MP_OFFLOAD_DEVICE_NUMBER_H
#define MP_OFFLOAD_DEVICE_NUMBER_H

#include "offload/device/portable.h"

enum { MP_NUMBER_FLOAT, MP_NUMBER_FLOAT64, MP_NUMBER_SIGNED, MP_NUMBER_UNSIGNED, MP_NUMBER_POWER };

/* A format of moeparity/dtype.h. */
typedef struct mp_number_format {
    int kind;            /* POWER: 2^(code-127), 255 is NaN */
    int bits;            /* 4: two to a byte, that of the even index in the low nibble */
    int precision, emin; /* the rest is of FLOAT: bits of the significand, exponent of the smallest normal */
    int has_inf;         /* else what lies beyond the largest finite number is NaN */
    unsigned long long largest; /* its code */
} mp_number_format;

MP_DEVICE_INLINE double mp_number_of_bits(unsigned long long bits) {
    union {
        unsigned long long bits;
        double number;
    } u;
    u.bits = bits;
    return u.number;
}

MP_DEVICE_INLINE unsigned long long mp_bits_of_number(double number) {
    union {
        double number;
        unsigned long long bits;
    } u;
    u.number = number;
    return u.bits;
}

/* 2^e, of a normal number. */
MP_DEVICE_INLINE double mp_number_power(int e) {
    return mp_number_of_bits((unsigned long long)(e + 1023) << 52);
}

MP_DEVICE_INLINE double mp_number_nan(void) {
    return mp_number_of_bits(0x7FF8000000000000ull);
}

MP_DEVICE_INLINE double mp_number_infinity(void) {
    return mp_number_of_bits(0x7FF0000000000000ull);
}

MP_DEVICE_INLINE double mp_number_of_float(const mp_number_format *f, unsigned long long code) {
    const unsigned long long sign = 1ull << (f->bits - 1), magnitude = code & (sign - 1),
                             hidden = 1ull << (f->precision - 1);
    double number;
    if (magnitude > f->largest) {
        number = f->has_inf && magnitude == f->largest + 1 ? mp_number_infinity() : mp_number_nan();
    } else { /* an exponent field of 0 has the exponent of field 1 and no hidden bit */
        const int field = (int)(magnitude >> (f->precision - 1)), e = f->emin + (field ? field - 1 : 0);
        const unsigned long long fraction = magnitude & (hidden - 1);
        number = (double)(field ? fraction + hidden : fraction) * mp_number_power(e - (f->precision - 1));
    }
    return code & sign ? -number : number;
}

MP_DEVICE_INLINE double mp_number_of_code(const mp_number_format *f, unsigned long long code) {
    const unsigned long long sign = 1ull << (f->bits - 1);
    switch (f->kind) {
    case MP_NUMBER_FLOAT64: return mp_number_of_bits(code);
    case MP_NUMBER_SIGNED: return (double)(long long)((code ^ sign) - sign);
    case MP_NUMBER_UNSIGNED: return (double)code;
    case MP_NUMBER_POWER: return code == 255 ? mp_number_nan() : mp_number_power((int)code - 127);
    default: return mp_number_of_float(f, code);
    }
}

/* The code of element `index`, and its number. */
MP_DEVICE_INLINE unsigned long long mp_code_in(const mp_number_format *f, const void *data, long long index) {
    switch (f->bits) {
    case 4: return (unsigned long long)((const unsigned char *)data)[index / 2] >> (index % 2 * 4) & 15;
    case 8: return ((const unsigned char *)data)[index];
    case 16: return ((const unsigned short *)data)[index];
    case 32: return ((const unsigned *)data)[index];
    case 64: return ((const unsigned long long *)data)[index];
    default: return 0;
    }
}
MP_DEVICE_INLINE double mp_number_at(const mp_number_format *f, const void *data, long long index) {
    return mp_number_of_code(f, mp_code_in(f, data, index));
}

/* Rounded to nearest, ties to even, to a FLOAT format that has Inf. Around a the format's numbers are the
 * multiples of 2^(e-(p-1)), e = max(floor(log2 a), emin); scaled by the inverse, a power of two, a becomes
 * q < 2^p exactly, and to add and subtract 2^52 is the one rounding. */
MP_DEVICE_INLINE double mp_number_rounded(const mp_number_format *f, double number) {
    const unsigned long long bits = mp_bits_of_number(number), magnitude = bits & 0x7FFFFFFFFFFFFFFFull;
    const double a = mp_number_of_bits(magnitude), largest = mp_number_of_code(f, f->largest);
    const int own = (int)(magnitude >> 52) - 1023, e = own > f->emin ? own : f->emin;
    double result = a; /* Inf and NaN */
    if (a >= 2 * largest) {
        result = mp_number_infinity();
    } else if (a == a) {
        const double q = a * mp_number_power(f->precision - 1 - e);
        result = ((q + 0x1p52) - 0x1p52) * mp_number_power(e - (f->precision - 1));
        if (result > largest) result = mp_number_infinity();
    }
    return bits >> 63 ? -result : result;
}

/* The code that it is stored as in such a format: NaN has all bits but the sign. */
MP_DEVICE_INLINE unsigned long long mp_code_of_number(const mp_number_format *f, double number) {
    const unsigned long long rounded = mp_bits_of_number(mp_number_rounded(f, number)),
                             magnitude = rounded & 0x7FFFFFFFFFFFFFFFull, sign = 1ull << (f->bits - 1);
    const int fraction = f->precision - 1, e = (int)(magnitude >> 52) - 1023;
    unsigned long long code;
    if (number != number) return sign - 1;
    if (e >= 1024)
        code = f->largest + 1;
    else if (e < f->emin) /* subnormal or zero: a multiple of the smallest number */
        code = (unsigned long long)(mp_number_of_bits(magnitude) * mp_number_power(fraction - f->emin));
    else
        code = ((unsigned long long)(e - f->emin + 1) << fraction) |
               (magnitude >> (52 - fraction) & ((1ull << fraction) - 1));
    return rounded >> 63 ? code | sign : code;
}

#endif
