/* SPDX-License-Identifier: Apache-2.0 */
/* Data families. A tensor is filled row by row; a row is a function of (seed, tensor, row) alone, so the
 * order of rows and the number of threads cannot matter.
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
#include "cases/deferred.h"
#include "cases/fill_codes.h"
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

/* Row `row` of cache1 for data=exhaustive: element n is gate number row*N + n. Gates run through all 65,536
 * codes, again and again; up is 1 the first time, then normal. */
static void exhaustive_row(const mp_case *c, uint64_t key, int64_t row, mp_tensor *t) {
    const int64_t width = mp_tensor_row_length(t), first = row * c->N;
    mp_fill_row(&(mp_row_rule){.style = MP_STYLE_NORMAL, .exponent = MP_UNIT_EXPONENT}, key, row, t);
    for (int64_t n = 0; n < c->N; n++) {
        const int64_t number = first + n, gate = c->interleaved ? 2 * n : n,
                      up = c->interleaved ? gate + 1 : c->N + n;
        ((uint16_t *)t->data)[row * width + gate] = (uint16_t)number;
        if (c->gated && number < 65536) mp_encode(t->dtype, t->data, row * width + up, 1.0);
    }
}

/* What the family makes of a whole tensor; x and cache3 may then differ from row to row (activation_rule). Of
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

/* A scale for each block, of which no two need be alike: who takes another's shows it. A power of two where
 * the family's sums are exact, else with all the bits of its format. */
static void fill_scales(const mp_case *c, mp_tensor_id which, mp_tensor *t) {
    const uint64_t key = mp_stream_key(c->seed, mp_tensors[which].stream);
    const bool exact = mp_has_exact_weights(c->data);
    const int exponent = scale_exponent(c, which);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < mp_tensor_count(t); i++) {
        const uint64_t bits = mp_bits(key, (uint64_t)i);
        const double fraction = exact ? 1 : 1 + (double)(bits >> 41) * 0x1p-23;
        const double usual = ldexp(fraction, exponent + (int)(bits & 3) - (exact ? 0 : 2));
        const bool given = which == MP_X_GIVEN_SCALE || which == MP_CACHE2_GIVEN_SCALE;
        mp_encode(t->dtype, t->data, i,
                  c->data != MP_CODES ? usual
                  : given             ? ldexp(1, exponent)
                                      : mp_limit_scale(t, i, usual));
    }
}

/* Zeros of blocks, near that of the scheme; one in eight is the lowest or the highest code. */
static void fill_zeros(const mp_case *c, mp_tensor_id which, mp_tensor *t) {
    const uint64_t key = mp_stream_key(c->seed, mp_tensors[which].stream);
    const mp_scheme *s = mp_scheme_of(c);
    const int most = (int)mp_dtype_format(s->weight)->max_finite,
              nibbles = mp_dtype_is_packed(s->weight) ? 2 : 1;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < mp_tensor_count(t); i++) {
        int byte = 0;
        for (int k = 0; k < nibbles; k++) {
            const uint64_t bits = mp_bits(key, (uint64_t)(i * nibbles + k));
            const bool at_limit = c->data == MP_CODES || bits >> 61 == 0;
            const int zero = at_limit ? (bits & 1 ? most : 0) : s->zero + (int)(bits & 3) - 2;
            byte |= zero << (4 * k);
        }
        ((uint8_t *)t->data)[i] = (uint8_t)byte;
    }
}

/* overflow: by how many powers of two a row is larger than normal, so that fp16 (65504) overflows in about
 * half of its elements where the next stage stores. Of every four tokens, with w1 16 and w2 64 times larger
 * than normal: none; gate and up are near 2^16; they are near 2^8 and their product is near 2^16; it is near
 * 2^10, down is near 2^16, and the sum over topk passes it where its terms do not. One stage alone reads
 * normal rows and such rows in turn: cache1 near 2^8, cache2 near 2^10, cache3 near 2^14. */
static int overflow_shift(mp_tensor_id which, int64_t row) {
    static const int of_x[4] = {-4, 12, 4, 1};
    switch (which) {
    case MP_X: return of_x[row % 4];
    case MP_CACHE1: return row % 2 ? 8 : 0;
    case MP_CACHE2: return row % 2 ? 10 : 0;
    default: return row % 2 ? 14 : 0;
    }
}

/* special: rows 0..3 are zeros, subnormals, one Inf, one NaN; of the others one in four is one of these, by
 * hash. */
static mp_row_rule activation_rule(const mp_case *c, mp_tensor_id which, mp_row_rule rule, uint64_t token_key,
                                   int64_t row) {
    const bool larger = !mp_tensor_has_codes(c, which); /* codes have no room for it */
    static const mp_row_style special[4] = {MP_STYLE_ZERO, MP_STYLE_SUBNORMAL, MP_STYLE_INF_ELEMENT,
                                            MP_STYLE_NAN_ELEMENT};
    const uint64_t bits = mp_bits(token_key, (uint64_t)row);
    switch (c->data) {
    case MP_SPECIAL:
        if (row < 4)
            rule.style = special[row];
        else if (bits % 4 == 0)
            rule.style = special[(bits >> 2) % 4];
        /* where nothing is added to a row its zeros keep their sign */
        if (rule.style == MP_STYLE_ZERO && mp_stage_is_lora((mp_stage)(c->scope - 1)) &&
            which != MP_LORA_H1 && which != MP_LORA_H2)
            rule.style = MP_STYLE_MINUS_ZERO;
        break;
    case MP_LIMITS:
        if (row % 2 == 1)
            rule.style = MP_STYLE_ZERO; /* only the biases act */
        else if (larger)
            rule.exponent += 3; /* 8 times: gates and ups beyond 7 and 10 */
        break;
    case MP_OVERFLOW: rule.exponent += larger ? overflow_shift(which, row) : 0; break;
    case MP_UNUSED:
    case MP_NORMAL:
    case MP_INTEGER:
    case MP_WIDE:
    case MP_ONEHOT:
    case MP_CODES:
    case MP_EXHAUSTIVE:
    case MP_FROM_FILE:
    case MP_DATA_COUNT: break;
    }
    return rule;
}

int64_t mp_first_padded_token(const mp_case *c) {
    if (c->routing != MP_PADDED || c->M == 0) return c->M;
    return c->M < 4 ? c->M - 1 : c->M - c->M / 4;
}

/* A row of codes without a sign: that of signed ones, in float32, around the zero. */
static void fill_unsigned_row(const mp_case *c, const mp_row_rule *rule, uint64_t key, int64_t row,
                              mp_tensor *t) {
    const int64_t n = mp_tensor_row_length(t);
    float values[MP_NORMAL_PART];
    for (int64_t first = 0; first < n; first += MP_NORMAL_PART) {
        const int64_t here = n - first < MP_NORMAL_PART ? n - first : MP_NORMAL_PART, at = row * n + first;
        mp_tensor piece = mp_tensor_shape(MP_FP32, 1, here, 1, 1);
        piece.data = values;
        mp_fill_row(rule, mp_normal_part_key(key, (uint64_t)at), 0, &piece);
        for (int64_t i = 0; i < here; i++) values[i] += (float)mp_scheme_of(c)->zero;
        mp_encode_row_f32(t->dtype, t->data, at, here, values);
    }
}

void mp_fill_rows(const mp_case *c, mp_tensor_id which, mp_tensor *t, int64_t first, int64_t count) {
    const uint64_t key = mp_stream_key(c->seed, mp_tensors[which].stream),
                   token_key = mp_stream_key(c->seed, MP_STREAM_TOKEN);
    const mp_row_rule rule = tensor_rule(c, which);
    const int64_t padded = mp_first_padded_token(c);
#pragma omp parallel for schedule(static) if (mp_worth_threads(count, 2 * mp_tensor_row_length(t)))
    for (int64_t row = first; row < first + count; row++) {
        mp_row_rule mine = rule;
        if (c->data == MP_EXHAUSTIVE && which == MP_CACHE1) {
            exhaustive_row(c, key, row, t);
            continue;
        }
        const bool is_padding = (which == MP_X || which == MP_X_CODES) && row >= padded;
        if (c->data == MP_CODES && !is_padding && mp_fill_codes_row(c, which, key, row, t)) continue;
        if (mp_tensors[which].rows != MP_ROWS_WHOLE) mine = activation_rule(c, which, rule, token_key, row);
        if (is_padding) mine.style = MP_STYLE_NAN; /* whoever reads a padding token shows it */
        if (mp_dtype_is_integer(t->dtype) && mine.style >= MP_STYLE_NAN)
            mine.style = MP_STYLE_ZERO; /* has none */
        if (mp_dtype_format(t->dtype)->has_sign)
            mp_fill_row(&mine, key, row, t);
        else
            fill_unsigned_row(c, &mine, key, row, t);
    }
}

void mp_fill_tensor(const mp_case *c, mp_tensor_id which, mp_tensor *t) {
    if (which == MP_W1_ZERO || which == MP_W2_ZERO)
        fill_zeros(c, which, t);
    else if (mp_scaled_tensor(which) != MP_TENSOR_COUNT)
        fill_scales(c, which, t);
    else
        mp_fill_rows(c, which, t, 0, mp_tensor_rows(t));
}

/* Whether it is activations of which no row is made otherwise than the others. */
static bool rows_are_alike(const mp_case *c, mp_tensor_id id) {
    const bool padded = c->routing == MP_PADDED, filters = c->filter > 0 || c->ep_size > 1 || padded;
    if (c->data != MP_NORMAL) return false;
    return id == MP_CACHE1 || id == MP_CACHE2 || (id == MP_X && !padded) || (id == MP_CACHE3 && !filters);
}

static mp_normal_kind normal_kind(mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    if (f->is_integer) return f->has_sign ? MP_NORMAL_SIGNED : MP_NORMAL_UNSIGNED;
    return dtype == MP_E2M1 ? MP_NORMAL_SATURATED : MP_NORMAL_FLOAT;
}

bool mp_fills_by_normal(const mp_case *c, mp_tensor_id id, mp_normal *normal) {
    const mp_dtype dtype = mp_case_dtype(c, id);
    const mp_format *f = mp_dtype_format(dtype);
    if (id == MP_W1 || id == MP_W2) {
        if (c->data == MP_UNUSED || c->data == MP_FROM_FILE) return false; /* the ids, or nobody, know */
        if (mp_tensor_has_codes(c, id) && c->data == MP_CODES) return false;
    } else if (!rows_are_alike(c, id) || mp_tensor_has_codes(c, id)) {
        return false;
    }
    if (f->bits > 16) return false;
    const mp_row_rule rule = tensor_rule(c, id);
    *normal = (mp_normal){.key = mp_stream_key(c->seed, mp_tensors[id].stream),
                          .exponent = rule.exponent,
                          .kind = normal_kind(dtype),
                          .bits = f->bits,
                          .precision = f->precision,
                          .emin = f->emin,
                          .largest = (unsigned)mp_encode_code(dtype, f->max_finite),
                          .zero = mp_scheme_of(c)->zero,
                          .row_length = (uint64_t)mp_case_shape(c, id, 16).dim[2]};
    return rule.style == MP_STYLE_NORMAL;
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
