/* SPDX-License-Identifier: Apache-2.0 */
/* data=codes, of quantised cases.
 *
 * Numbers that are quantised: the groups that share a scale are, from one to the next of a row and from row
 * to row, in turn
 *   ties      midway between codes, times UNIT; the largest is the largest code's, so that its scale is UNIT
 *   zeros     all of them
 *   outlier   one is 4096 times as large as the others
 *   power     the largest over the largest code is exactly UNIT: a scale that is a power of two
 *   above     that number of the model's format which is next to it: such a scale is the next power
 *   below     the one before
 *   tiny      normal numbers times 2^-40, below the floors of quantisers (1e-10); of fp16 subnormal ones
 *   subnormal multiples of the format's smallest number
 * Where all rows share a scale that is made they are all of one kind, which the seed names. A scale that is
 * given is UNIT: of e4m3 ties reach the one between 448 and what would come next, 464, and beyond it.
 *
 * Codes: all that there are, but for NaN. Of a row of scales one is 0, the format's smallest, a huge one, or,
 * of ue8m0, NaN (255); zero points are the lowest and the highest. Weights of a row that share a NaN are
 * zeros: whoever takes 255 for a number makes 0 of them, where of others Inf - Inf could be NaN again. */
#include "cases/fill_codes.h"

#include "cases/fill.h"
#include "cases/scheme.h"

#include <math.h>

enum { UNIT = -7, OUTLIER = 12, TINY = -40, HUGE_SCALE = 96 }; /* powers of two */

typedef enum kind { TIES, ZEROS, ONE_OUTLIER, POWER, ABOVE, BELOW, TINY_NUMBERS, SUBNORMAL, KINDS } kind;

/* Near a standard deviation of 1, in steps of 2^-15. */
static double usual_number(uint64_t bits) {
    return (double)((int64_t)(bits >> 48) + (int64_t)(bits >> 32 & 0xFFFF) - 0xFFFF) * 0x1p-15;
}

/* Midway between a code and the next in magnitude; beyond the largest by the last step. */
static double tie(mp_dtype codes, uint64_t code, uint64_t largest) {
    const uint64_t above = code < largest ? code + 1 : code, below = code < largest ? code : code - 1;
    const double here = mp_decode_code(codes, code),
                 half = (mp_decode_code(codes, above) - mp_decode_code(codes, below)) / 2;
    return here + half;
}

static double number_of_kind(kind k, mp_dtype codes, mp_dtype format, bool clips, uint64_t bits) {
    const mp_format *f = mp_dtype_format(format);
    const double sign = bits & 1 ? -1 : 1, usual = usual_number(bits);
    const uint64_t largest = mp_encode_code(codes, mp_dtype_format(codes)->max_finite);
    switch (k) {
    case TIES:
        return sign *
               ldexp(tie(codes, (uint64_t)mp_below(mp_mix(bits), (int64_t)largest + clips), largest), UNIT);
    case ZEROS: return 0;
    case TINY_NUMBERS:
        if (f->emin < TINY) return ldexp(usual, TINY);
        break; /* it has none that are normal */
    case SUBNORMAL: break;
    case ONE_OUTLIER:
    case POWER:
    case ABOVE:
    case BELOW:
    case KINDS: return usual;
    }
    return sign * ldexp((double)(1 + (bits >> 40) % 3), f->emin - f->precision + 1);
}

/* The one that is larger than the others; 0: none is. */
static double largest_of_kind(kind k, mp_dtype codes, mp_dtype format, bool clips) {
    const double largest = ldexp(mp_dtype_format(codes)->max_finite, UNIT);
    const uint64_t code = mp_encode_code(format, largest);
    switch (k) {
    case TIES: return clips ? 2 * largest : largest;
    case POWER: return largest;
    case ABOVE: return mp_decode_code(format, code + 1);
    case BELOW: return mp_decode_code(format, code - 1);
    case ONE_OUTLIER: return ldexp(1, OUTLIER);
    case ZEROS:
    case TINY_NUMBERS:
    case SUBNORMAL:
    case KINDS: break;
    }
    return 0;
}

static void fill_numbers(const mp_case *c, uint64_t key, int64_t row, mp_tensor *t) {
    const mp_scheme *s = mp_scheme_of(c);
    const mp_dtype codes = mp_quantiser_codes(s->quantiser);
    const int64_t width = mp_tensor_row_length(t),
                  group = s->granularity == MP_PER_GROUP ? mp_case_group(c) : width;
    const bool clips = s->given && !s->made;
    for (int64_t first = 0; first < width; first += group) {
        const int64_t n = width - first < group ? width - first : group, at = row * width + first,
                      turn = mp_codes_share_a_scale(c) ? c->seed : row + first / group;
        const kind k = (kind)(turn % KINDS);
        for (int64_t i = 0; i < n; i++)
            mp_encode(t->dtype, t->data, at + i,
                      number_of_kind(k, codes, t->dtype, clips, mp_bits(key, (uint64_t)(at + i))));
        const double largest = largest_of_kind(k, codes, t->dtype, clips);
        const uint64_t bits = mp_bits(~key, (uint64_t)at);
        if (largest > 0) mp_encode(t->dtype, t->data, at + mp_below(bits, n), bits & 1 ? -largest : largest);
    }
}

/* Whether one of a row of scales of this format is NaN. */
static bool has_nan(const mp_format *scales, int64_t row) {
    return !scales->has_sign && row % 8 == 5;
}

static void fill_codes(const mp_case *c, mp_tensor_id which, uint64_t key, int64_t row, mp_tensor *t) {
    const mp_scheme *s = mp_scheme_of(c);
    const int64_t width = mp_tensor_row_length(t);
    const uint64_t all = (UINT64_C(1) << mp_dtype_bits(t->dtype)) - 1;
    for (int64_t i = row * width; i < (row + 1) * width; i++) {
        const uint64_t code = mp_bits(key, (uint64_t)i) >> 32 & all;
        mp_put_code(t->dtype, t->data, i, isnan(mp_decode_code(t->dtype, code)) ? code - 1 : code);
    }
    if ((which != MP_W1 && which != MP_W2) || s->block_rows != 1) return;
    if (!has_nan(mp_dtype_format(mp_scheme_dtype(c, which == MP_W1 ? MP_W1_SCALE : MP_W2_SCALE)), row))
        return;
    const int64_t group = mp_case_group(c), first = row % mp_blocks_of(width, group) * group;
    for (int64_t i = first; i < width && i < first + group; i++)
        mp_put_code(t->dtype, t->data, row * width + i, 0);
}

bool mp_fill_codes_row(const mp_case *c, mp_tensor_id which, uint64_t key, int64_t row, mp_tensor *t) {
    if (mp_tensor_has_codes(c, which))
        fill_codes(c, which, key, row, t);
    else if (mp_scheme_of(c)->quantises_activations && (which == MP_X || which == MP_CACHE2))
        fill_numbers(c, key, row, t);
    else
        return false;
    return true;
}

double mp_limit_scale(const mp_tensor *scales, int64_t i, double usual) {
    const mp_format *f = mp_dtype_format(scales->dtype);
    const int64_t columns = mp_tensor_row_length(scales), row = i / columns;
    if (i % columns != row % columns) return usual;
    if (has_nan(f, row)) return (double)NAN;
    switch (row % 8) {
    case 1: return f->has_sign ? 0 : ldexp(1, f->emin);
    case 2: return f->has_sign ? ldexp(1, f->emin - f->precision + 1) : ldexp(1, f->emin);
    case 3: return fmin(f->max_finite, f->has_sign ? ldexp(1, HUGE_SCALE) : f->max_finite);
    default: return usual;
    }
}
