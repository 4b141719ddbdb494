/* SPDX-License-Identifier: Apache-2.0 */
/* Data families: what their tensors are made of. An element is a function of that and of its place alone
 * (cases/numbers.h), so the order and the number of threads cannot matter, nor which machine makes it.
 *
 * Scales (all powers of two), for outputs near 1 at any K, N, topk:
 *   x    standard deviation s = 0.577*2 = 1.155
 *   w1   s*2^-a with 4^a the power of 4 nearest below 2K. Then r = K/4^a is in [1/2, 2), and gate and up have
 *        variance s^4*K/4^a = 1.78*r.
 *   w2   s*2^-b with 4^b the power of 4 nearest below 2q, q = N*r^2/topk. cache2 of silu has a mean square of
 *        about 1.3*r^2 (0.36 at variance 1, growing like variance squared). The topk weights of a token sum
 *        to nearly 1, their squares to about 1/topk, so out has mean square
 *        s^2 * N/topk * 1.3*r^2 / 4^b = 1.7*q/4^b, and q/4^b is in [1/2, 2).
 */
#include "cases/fill.h"

#include "base/threads.h"
#include "cases/fill_rows.h"
#include "cases/graph_tables.h"
#include "cases/lora.h"
#include "cases/scheme.h"

#include <math.h>
#include <string.h>

/* Integers: with at most 16 nonzeros in a row of x and |values| <= 2, |cache1| <= 16*4 + 2 (bias); squared,
 * times 2 and at most 64 nonzeros in a row of w2, |cache3| stays below 2^20: every partial sum is an integer
 * that float32 holds exactly. */
enum { SOME_INTS = 16, MANY_INTS = 64 };

/* floor(log4(v)) for v > 0. */
static int floor_log4(double v) {
    int e; /* v = f * 2^e, f in [1/2, 1) */
    frexp(v, &e);
    return (e - 1) >> 1;
}

static int w1_shift(const mp_case *c) {
    return floor_log4(2.0 * (double)c->K);
}

static int w2_shift(const mp_case *c) {
    const double r = ldexp((double)c->K, -2 * w1_shift(c));
    return floor_log4(2.0 * (double)c->N * r * r / (double)c->topk);
}

/* LoRA's factors, in the manner of w1 and w2: what an adapter adds is as large as what it is added to. A
 * scales a sum over K or N, B one over the rank; of down, cache3 has variance topk, as w2_shift leaves it. */
static int lora_shift(const mp_case *c, mp_tensor_id factor) {
    switch (factor) {
    case MP_LORA_A1: return w1_shift(c);
    case MP_LORA_A2: return floor_log4(2.0 * (double)c->N);
    case MP_LORA_B2: return floor_log4(2.0 * (double)c->lora_rank / (double)c->topk);
    default: return floor_log4(2.0 * (double)c->lora_rank);
    }
}

/* What the family makes of a whole tensor; x and cache3 may then differ from row to row (set_rows). Of
 * codes and scales it is what the numbers would be that they stand for. */
static mp_row_rule number_rule(const mp_case *c, mp_tensor_id which) {
    const int w1_exponent = MP_UNIT_EXPONENT - w1_shift(c), w2_exponent = MP_UNIT_EXPONENT - w2_shift(c);
    const bool activations = mp_tensors[which].rows != MP_ROWS_WHOLE, lora = mp_is_lora_factor(which);
    const mp_row_rule normal = {.style = MP_STYLE_NORMAL,
                                .exponent = which == MP_W1   ? w1_exponent
                                            : which == MP_W2 ? w2_exponent
                                            : lora           ? MP_UNIT_EXPONENT - lora_shift(c, which)
                                            : activations    ? MP_UNIT_EXPONENT
                                                             : MP_UNIT_EXPONENT - 1};
    if (lora && c->data != MP_INTEGER) return normal;
    switch (c->data) {
    case MP_INTEGER:
        return (mp_row_rule){.style = MP_STYLE_INT,
                             .nonzeros = which == MP_X    ? SOME_INTS
                                         : which == MP_W2 ? MANY_INTS
                                         : lora           ? SOME_INTS
                                                          : 0};
    case MP_WIDE: /* root mean square 13.3 where normal has 1.155: 2^-6 and 2^-5 bring the outputs back to
                     near 1 */
        if (which == MP_B1 || which == MP_B2) return normal;
        return (mp_row_rule){.style = MP_STYLE_WIDE,
                             .exponent = which == MP_W1   ? -6 - w1_shift(c)
                                         : which == MP_W2 ? -5 - w2_shift(c)
                                                          : 0,
                             .mirrored = activations};
    case MP_ONEHOT: /* x picks one element of each w1 row: its scale must not shrink with K */
        if (which == MP_W1) return (mp_row_rule){.style = MP_STYLE_NORMAL, .exponent = MP_UNIT_EXPONENT};
        if (activations || which == MP_W2) return (mp_row_rule){.style = MP_STYLE_ONE};
        return normal;
    case MP_OVERFLOW: /* weights that small activations cannot do without: x itself stays finite */
        if (which != MP_W1 && which != MP_W2) return normal;
        return (mp_row_rule){.style = MP_STYLE_NORMAL,
                             .exponent = normal.exponent + (which == MP_W1 ? 4 : 6)};
    case MP_SPECIAL:
    case MP_LIMITS:
    case MP_UNUSED:
    case MP_CODES:
    case MP_EXHAUSTIVE: /* normal, but for rows of their own */
    case MP_NORMAL: return normal;
    case MP_FROM_FILE:
    case MP_DATA_COUNT: break;
    }
    return (mp_row_rule){.style = MP_STYLE_NAN}; /* no family */
}

/* Codes reach the limits of their format, or near those of one that does not saturate, and their scales make
 * of them what the family asks for. Codes without a sign are so many around their zero. */
static mp_row_rule code_rule(const mp_case *c, mp_tensor_id which, mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    mp_row_rule rule = number_rule(c, which);
    int binade; /* of the largest code */
    frexp(f->has_sign ? f->max_finite : (f->max_finite + 1) / 2, &binade);
    const int reach = f->is_integer || dtype == MP_E2M1 ? binade : binade - 1;
    if (rule.style == MP_STYLE_NORMAL) rule.exponent = reach - 17; /* the centred sum is below 2^17 */
    if (rule.style == MP_STYLE_WIDE) rule.exponent = reach - 6;    /* its numbers are below 2^6 */
    return rule;
}

static mp_row_rule tensor_rule(const mp_case *c, mp_tensor_id which) {
    return mp_tensor_has_codes(c, which) ? code_rule(c, which, mp_case_dtype(c, which))
                                         : number_rule(c, which);
}

bool mp_has_exact_weights(mp_data family) {
    switch (family) {
    case MP_INTEGER:
    case MP_ONEHOT: return true;
    case MP_NORMAL:
    case MP_WIDE:
    case MP_SPECIAL:
    case MP_LIMITS:
    case MP_OVERFLOW:
    case MP_UNUSED:
    case MP_CODES:
    case MP_EXHAUSTIVE:
    case MP_FROM_FILE:
    case MP_DATA_COUNT: break;
    }
    return false;
}

/* By how many powers of two scales make numbers of codes, and what of it a scale that is given or global has.
 * Scales that are made beside a small one use the range of e4m3; where scales are filled, those of every
 * family must be in it: beyond it e4m3 has NaN alone. */
enum { GIVEN_STATIC = -7, GIVEN_GLOBAL = -9, GIVEN_BESIDE_SCALES = -2, OF_GLOBAL = 3 };

static int given_exponent(const mp_case *c, mp_tensor_id codes) {
    if (!mp_scheme_of(c)->made) return GIVEN_STATIC; /* clips a few */
    return mp_case_inputs(c) & MP_IN_SET(codes) ? GIVEN_BESIDE_SCALES : GIVEN_GLOBAL;
}

static int scale_exponent(const mp_case *c, mp_tensor_id which) {
    const mp_scheme *s = mp_scheme_of(c);
    const mp_tensor_id of = mp_scaled_tensor(which);
    const int all = number_rule(c, of).exponent - code_rule(c, of, mp_case_dtype(c, of)).exponent;
    const bool given = which == MP_X_GIVEN_SCALE || which == MP_CACHE2_GIVEN_SCALE,
               global = which == MP_W1_GLOBAL_SCALE || which == MP_W2_GLOBAL_SCALE;
    if (given) return given_exponent(c, of);
    if (global) return all - OF_GLOBAL;
    if (of == MP_W1 || of == MP_W2) return s->global ? OF_GLOBAL : all;
    return s->given ? all - given_exponent(c, of) : all;
}

/* Scales of blocks, and their zeros: a power of two where the family's sums are exact, else with all the bits
 * of its format. */
static void set_scales(const mp_case *c, mp_tensor_id which, mp_numbers *n) {
    const mp_scheme *s = mp_scheme_of(c);
    const bool exact = mp_has_exact_weights(c->data), codes = c->data == MP_CODES,
               given = which == MP_X_GIVEN_SCALE || which == MP_CACHE2_GIVEN_SCALE;
    n->rule = (mp_row_rule){.style = exact            ? MP_STYLE_POWER
                                     : codes && given ? MP_STYLE_ONE
                                                      : MP_STYLE_SCALE,
                            .exponent = scale_exponent(c, which) - (exact || (codes && given) ? 0 : 2)};
    n->at_limits = codes && !given;
    if (which != MP_W1_ZERO && which != MP_W2_ZERO) return;
    n->rule = (mp_row_rule){.style = MP_STYLE_ZERO_POINTS};
    n->zeros = mp_dtype_is_packed(s->weight) ? 2 : 1;
    n->around = s->zero;
    n->most = (int)mp_dtype_format(s->weight)->max_finite;
}

/* overflow: by how many powers of two a row is larger than normal, so that fp16 (65504) overflows in about
 * half of its elements where the next stage stores. Of every four tokens, with w1 16 and w2 64 times larger
 * than normal: none; gate and up are near 2^16; they are near 2^8 and their product is near 2^16; it is near
 * 2^10, down is near 2^16, and the sum over topk passes it where its terms do not. One stage alone reads
 * normal rows and such rows in turn: cache1 near 2^8, cache2 near 2^10, cache3 near 2^14. */
static const int *overflow_shifts(mp_tensor_id which) {
    static const int of_x[4] = {-4, 12, 4, 1}, of_cache1[4] = {0, 8, 0, 8}, of_cache2[4] = {0, 10, 0, 10},
                     of_others[4] = {0, 14, 0, 14};
    switch (which) {
    case MP_X: return of_x;
    case MP_CACHE1: return of_cache1;
    case MP_CACHE2: return of_cache2;
    default: return of_others;
    }
}

/* What makes rows of activations differ. */
static void set_rows(const mp_case *c, mp_tensor_id which, mp_numbers *n) {
    const bool larger = !mp_tensor_has_codes(c, which); /* codes have no room for it */
    static const int of_limits[4] = {3, 0, 3, 0};       /* 8 times: gates and ups beyond 7 and 10 */
    switch (c->data) {
    case MP_SPECIAL:
        n->some_special = true;
        /* where nothing is added to a row its zeros keep their sign */
        n->zero_style =
            mp_stage_is_lora((mp_stage)(c->scope - 1)) && which != MP_LORA_H1 && which != MP_LORA_H2
                ? MP_STYLE_MINUS_ZERO
                : MP_STYLE_ZERO;
        break;
    case MP_LIMITS: /* of odd rows only the biases act */
        n->odd_zeros = true;
        if (larger) memcpy(n->shift, of_limits, sizeof n->shift);
        break;
    case MP_OVERFLOW:
        if (larger) memcpy(n->shift, overflow_shifts(which), sizeof n->shift);
        break;
    case MP_EXHAUSTIVE:
        if (which != MP_CACHE1) break;
        n->rule.style = MP_STYLE_GATES;
        n->gated = c->gated;
        n->interleaved = c->interleaved;
        break;
    case MP_UNUSED:
    case MP_NORMAL:
    case MP_INTEGER:
    case MP_WIDE:
    case MP_ONEHOT:
    case MP_CODES:
    case MP_FROM_FILE:
    case MP_DATA_COUNT: break;
    }
    /* whoever reads a padding token shows it */
    if (c->routing == MP_PADDED && (which == MP_X || which == MP_X_CODES))
        n->padded_from = (mp_u64)mp_first_padded_token(c);
}

/* data=codes: what is quantised, and codes. */
static void set_limits(const mp_case *c, mp_tensor_id which, mp_numbers *n) {
    const mp_scheme *s = mp_scheme_of(c);
    const bool codes = mp_tensor_has_codes(c, which), weights = which == MP_W1 || which == MP_W2,
               numbers = s->quantises_activations && (which == MP_X || which == MP_CACHE2);
    if (c->data != MP_CODES || !(codes || numbers)) return;
    const bool grouped = codes ? s->group != MP_WHOLE_AXIS : s->granularity == MP_PER_GROUP;
    n->rule.style = codes ? MP_STYLE_CODES : MP_STYLE_LIMITS;
    n->limits = (mp_limits){
        .codes = mp_code_format_of(numbers ? mp_quantiser_codes(s->quantiser) : mp_case_dtype(c, which)),
        .group = grouped ? (mp_u64)mp_case_group(c) : n->row_length,
        .kind = (mp_u64)c->seed,
        .one_kind = mp_codes_share_a_scale(c),
        .clips = s->given && !s->made,
        .nan_scales =
            weights && s->block_rows == 1 && !mp_dtype_format(mp_scheme_dtype(c, MP_W1_SCALE))->has_sign};
}

int64_t mp_first_padded_token(const mp_case *c) {
    if (c->routing != MP_PADDED || c->M == 0) return c->M;
    return c->M < 4 ? c->M - 1 : c->M - c->M / 4;
}

static mp_code_kind code_kind(mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    if (f->is_integer) return f->has_sign ? MP_CODES_SIGNED : MP_CODES_UNSIGNED;
    return !f->has_sign ? MP_CODES_POWER : dtype == MP_E2M1 ? MP_CODES_SATURATED : MP_CODES_FLOAT;
}

mp_code_format mp_code_format_of(mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    return (mp_code_format){.largest = mp_encode_code(dtype, f->max_finite),
                            .kind = (int)code_kind(dtype),
                            .bits = f->bits,
                            .precision = f->precision,
                            .emin = f->emin};
}

_Static_assert(sizeof(mp_numbers) == 9 * sizeof(mp_u64) + sizeof(mp_code_format) + sizeof(mp_limits) +
                                         sizeof(mp_row_rule) + 14 * sizeof(int),
               "bytes of mp_numbers are compared");

mp_numbers mp_numbers_of(const mp_case *c, mp_tensor_id which) {
    const mp_tensor t = mp_case_shape(c, which, 16);
    mp_numbers n = {.key = mp_stream_key(c->seed, mp_tensors[which].stream),
                    .row_length = (mp_u64)mp_tensor_row_length(&t),
                    .token_key = mp_stream_key(c->seed, MP_STREAM_TOKEN),
                    .padded_from = MP_NO_PADDING,
                    .format = mp_code_format_of(t.dtype)};
    if (mp_scaled_tensor(which) != MP_TENSOR_COUNT) {
        set_scales(c, which, &n);
        return n;
    }
    n.rule = tensor_rule(c, which);
    if (n.format.kind == MP_CODES_UNSIGNED) n.format.zero = mp_scheme_of(c)->zero;
    if (mp_tensors[which].rows != MP_ROWS_WHOLE) set_rows(c, which, &n);
    set_limits(c, which, &n);
    if (mp_is_lora_factor(which)) mp_set_factor(c, which, &t, &n);
    return n;
}

void mp_fill_tensor(const mp_case *c, mp_tensor_id which, mp_tensor *t) {
    const mp_numbers n = mp_numbers_of(c, which);
    mp_fill_rows(&n, NULL, t, 0, mp_tensor_rows(t));
}

/* Router weights. integer and onehot: powers of two, so that weighting is exact. Otherwise, in integers: slot
 * j gets raw = 4096*(topk + p_j) + 11 random bits, p a rotation of 0..topk-1, so two slots are at least 2049
 * apart; w = floor(2^24 * raw / divisor) with the last bit set, divisor between sum and 1.25*sum. w*2^-24 is
 * exact in float32, needs more bits than bf16 has, differs from slot to slot (sum < 6144*topk^2, so by more
 * than 2^24*2049/(1.25*6145*topk^2) > 4), and the token's weights sum to 0.8..1, differently for each
 * token. The shared expert's slot has 1/rsf, so that its share of the output is not scaled. */
void mp_fill_topk_weights(const mp_case *c, mp_tensor *t) {
    const uint64_t key = mp_stream_key(c->seed, mp_tensors[MP_TOPK_WEIGHTS].stream), token_key = ~key;
    const bool exact = mp_has_exact_weights(c->data);
    const uint64_t topk = (uint64_t)c->topk;
#pragma omp parallel for schedule(static) if (mp_worth_threads(c->M, 20 * c->topk))
    for (int64_t m = 0; m < c->M; m++) {
        float *weights = (float *)t->data + m * c->topk;
        const uint64_t first = (uint64_t)m * topk, token = mp_bits(token_key, (uint64_t)m),
                       turn = (token >> 32) % topk;
        uint64_t sum = 0;
        for (uint64_t j = 0; j < topk; j++)
            sum += 4096 * (topk + (j + turn) % topk) + (mp_bits(key, first + j) & 2047);
        const uint64_t divisor = sum + sum / 4 * (token & 0xFFFF) / 65536 + 1;
        for (uint64_t j = 0; j < topk; j++) {
            const uint64_t bits = mp_bits(key, first + j),
                           raw = 4096 * (topk + (j + turn) % topk) + (bits & 2047);
            weights[j] =
                exact ? 1.0f / (float)(1 << (bits >> 62)) : (float)(((raw << 24) / divisor) | 1) * 0x1p-24f;
        }
        if (c->shared == MP_SHARED_SLOT) weights[topk - 1] = (float)(1 / (double)(float)c->rsf);
    }
}
