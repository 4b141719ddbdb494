/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_scale.h"

#include "base/bits.h"
#include "base/clones.h"

#include <math.h>
#include <string.h>

#define INLINE inline __attribute__((always_inline))

/* Codes looked at in one piece. */
enum { PIECE = 64 };

const mp_tc_operand mp_tc_operands[] = {
    [MP_TC_BF16] = {MP_BF16, 0xFFFF, 7, 127, 0x7F80},     [MP_TC_FP16] = {MP_FP16, 0xFFFF, 10, 15, 0x7C00},
    [MP_TC_TF32] = {MP_FP32, 0xFFFFE000, 7, 127, 0x7F80}, [MP_TC_E4M3] = {MP_E4M3, 0xFF, 3, 7, 0x7F},
    [MP_TC_E5M2] = {MP_E5M2, 0xFF, 2, 15, 0x7C},          [MP_TC_E2M1] = {MP_E2M1, 0xF, 1, 1, 0x10},
};

MP_CLONES static void take_outlines(const mp_tc_operand *o, const char *codes, int64_t n,
                                    uint16_t *outlines) {
    switch (mp_dtype_size(o->dtype)) {
    case 1:
        for (int64_t i = 0; i < n; i++) outlines[i] = (uint16_t)((codes[i] & 0x80) << 8 | (codes[i] & 0x7F));
        break;
    case 2: memcpy(outlines, codes, (size_t)n * sizeof *outlines); break;
    default:
        for (int64_t i = 0; i < n; i++) {
            uint32_t code;
            memcpy(&code, codes + 4 * i, sizeof code);
            outlines[i] = (uint16_t)((code & o->kept) >> 16 | ((code & o->kept & 0xFFFF) != 0));
        }
    }
}

void mp_tc_take_outlines(const mp_tc_operand *o, const char *codes, int64_t n, uint16_t *outlines) {
    take_outlines(o, codes, n, outlines);
}

/* Without the bits that the unit does not read. */
MP_CLONES static void keep_bits(uint32_t kept, int64_t n, float *values) {
    for (int64_t i = 0; i < n; i++) values[i] = mp_float_of_bits(mp_bits_of_float(values[i]) & kept);
}

void mp_tc_take_values(const mp_tc_operand *o, const char *codes, int64_t n, float *values) {
    mp_decode_row_f32(o->dtype, codes, 0, n, values);
    if (o->dtype == MP_FP32) keep_bits(o->kept, n, values);
}

/* Exponent field of an outline, 1 for subnormals, 0 for zero; `shift`: the format's. */
static INLINE uint16_t field_of(int shift, uint16_t outline) {
    const uint16_t magnitude = outline & 0x7FFF, field = (uint16_t)(magnitude >> shift),
                   nonzero = magnitude > 1 ? 1 : magnitude;
    return field > nonzero ? field : nonzero;
}

/* Of magnitudes; a zero less one is the largest number, so it is never the smallest. */
typedef struct extent {
    uint16_t largest, smallest_less_one;
} extent;

MP_CLONES static void widen(const uint16_t *outlines, int64_t n, extent *x) {
    uint16_t largest = x->largest, smallest_less_one = x->smallest_less_one;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t magnitude = outlines[i] & 0x7FFF, less_one = (uint16_t)(magnitude - 1);
        largest = magnitude > largest ? magnitude : largest;
        smallest_less_one = less_one < smallest_less_one ? less_one : smallest_less_one;
    }
    *x = (extent){largest, smallest_less_one};
}

mp_tc_scaling mp_tc_survey(const mp_tc_operand *o, const char *codes, int64_t n) {
    extent x = {0, UINT16_MAX};
    if (mp_dtype_size(o->dtype) == 2) /* codes are outlines */
        widen((const uint16_t *)(const void *)codes, n, &x);
    for (int64_t k = 0; mp_dtype_size(o->dtype) != 2 && k < n; k += PIECE) {
        uint16_t outlines[PIECE];
        const int64_t here = n - k < PIECE ? n - k : PIECE;
        mp_tc_take_outlines(o, mp_tc_codes_at(o, codes, k), here, outlines);
        widen(outlines, here, &x);
    }
    const int largest = field_of(o->shift, x.largest),
              smallest = field_of(o->shift, (uint16_t)(x.smallest_less_one + 1));
    return (mp_tc_scaling){.exponent = largest ? largest - o->bias : 0,
                           .small = smallest != 0 && smallest < largest - 31,
                           .special = x.largest >= o->first_special};
}

/* What a and w differ in: see ref/predict/tensorcore_kernels.h. */
typedef struct side {
    int16_t exponent_offset, zero_exponent;
} side;
static const side SIDE_A = {0, MP_TC_ZERO_A}, SIDE_W = {127, MP_TC_ZERO_W};

mp_tc_power mp_tc_power_of(const mp_tc_operand *o, int exponent, double factor) {
    return (mp_tc_power){(int16_t)(o->bias + exponent), mp_power_of_two(-exponent) * factor};
}

/* An exponent as the kernels have it, in 16-bit arithmetic for the sake of the vectors. */
static INLINE int16_t stored_exponent(uint16_t field, int16_t largest, side form) {
    const int16_t relative = (int16_t)(field - largest),
                  above = relative > MP_TC_LOWEST ? relative : MP_TC_LOWEST;
    return field ? (int16_t)(above + form.exponent_offset) : form.zero_exponent;
}

/* A zero becomes `zero` with its sign, which changes no number of more than 2^-200: below that a product is
 * nothing but a sign. */
static INLINE double scaled_number(float in, double factor, double zero) {
    return (double)in * factor + copysign(zero, (double)in);
}

static INLINE void row_exponents(int shift, int16_t largest, int64_t n, const uint16_t *restrict outlines,
                                 int32_t *restrict exponents) {
    for (int64_t k = 0; k < n; k++) {
        const uint8_t e = (uint8_t)stored_exponent(field_of(shift, outlines[k]), largest, SIDE_A);
        exponents[k] = (int32_t)(e * 0x01010101u);
    }
}

MP_CLONES static void row_in_form(const mp_tc_layout *l, mp_tc_power taken_out, int64_t n,
                                  const uint16_t *restrict outlines, const float *restrict in,
                                  void *restrict numbers, int32_t *restrict exponents) {
    const double zero = l->form->zero;
    switch (l->a->shift) {
    case 7: row_exponents(7, taken_out.field, n, outlines, exponents); break;
    case 10: row_exponents(10, taken_out.field, n, outlines, exponents); break;
    default: row_exponents(l->a->shift, taken_out.field, n, outlines, exponents);
    }
    if (l->form->number_bytes == sizeof(double)) {
        double *to = numbers;
        for (int64_t k = 0; k < n; k++) to[k] = scaled_number(in[k], taken_out.factor, zero);
    } else { /* exact, as the form is chosen so */
        float *to = numbers;
        for (int64_t k = 0; k < n; k++) to[k] = (float)scaled_number(in[k], taken_out.factor, zero);
    }
}

static INLINE void tile_exponents(int shift, const mp_tc_powers *restrict p, int64_t rows, int64_t columns,
                                  const uint16_t *restrict outlines, int8_t *restrict exponents) {
    for (int64_t at = 0; at < rows * columns; at += columns)
        for (int64_t n = 0; n < columns; n++)
            exponents[at + n] =
                (int8_t)stored_exponent(field_of(shift, outlines[at + n]), p->field[n], SIDE_W);
}

MP_CLONES static void tile_in_form(const mp_tc_layout *l, const mp_tc_powers *restrict p, int64_t first,
                                   int64_t rows, const uint16_t *restrict outlines, const float *restrict in,
                                   void *restrict numbers, int8_t *restrict exponents) {
    const double zero = l->form->zero;
    const int64_t columns = l->columns;
    double *number = numbers;
    float *single = numbers;
    switch (l->w->shift) {
    case 7: tile_exponents(7, p, rows, columns, outlines, exponents); break;
    case 10: tile_exponents(10, p, rows, columns, outlines, exponents); break;
    default: tile_exponents(l->w->shift, p, rows, columns, outlines, exponents);
    }
    for (int64_t k = 0, at = 0; k < rows; k++, at += columns) {
        const double fallen = mp_power_of_two((int)(-(first + k) / l->group % MP_TC_FALLS * l->fall));
        if (l->form->number_bytes == sizeof(double))
            for (int64_t n = 0; n < columns; n++)
                number[at + n] = scaled_number(in[at + n], p->factor[n] * fallen, zero);
        else
            for (int64_t n = 0; n < columns; n++)
                single[at + n] = (float)scaled_number(in[at + n], p->factor[n], zero);
    }
}

void mp_tc_scale_row(const mp_tc_layout *l, mp_tc_power taken_out, int64_t n, const uint16_t *outlines,
                     const float *in, void *numbers, int32_t *exponents) {
    row_in_form(l, taken_out, n, outlines, in, numbers, exponents);
}

void mp_tc_scale_tile(const mp_tc_layout *l, const mp_tc_powers *taken_out, int64_t first, int64_t rows,
                      const uint16_t *outlines, const float *in, void *numbers, int8_t *exponents) {
    tile_in_form(l, taken_out, first, rows, outlines, in, numbers, exponents);
}
