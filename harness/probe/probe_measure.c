/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/probe/probe_measure.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One vector under construction, and what is known so far. A failure stays in `status`; from then on nothing
 * is evaluated. */
typedef struct probe {
    const mp_dot *dot;
    mp_error *err;
    mp_status status;
    uint32_t a[2 * MP_PROBE_DEPTH_MAX], b[2 * MP_PROBE_DEPTH_MAX], c, bits;
    int high, low; /* exponents that the searches use: 2^high is a product and a result, 2^low is one of the
                      smallest */
    int first[MP_PROBE_DEPTH_MAX], last[MP_PROBE_DEPTH_MAX]; /* k of the first and the last group's terms */
    int terms;                                               /* as many as both groups have */
} probe;

/* Codes whose product is exactly `value`: a power of two times 1 or 1.5, of any exponent that two operands
 * reach. */
static void put_term(probe *p, uint32_t *a, uint32_t *b, double value) {
    int exponent = 0;
    const double significand = 2 * frexp(value, &exponent);
    exponent--;
    const int half = (exponent - (exponent < 0)) / 2; /* rounded down */
    const double x = ldexp(1.0, half), y = ldexp(significand, exponent - half);
    *a = (uint32_t)mp_encode_code(p->dot->operand, x);
    *b = (uint32_t)mp_encode_code(p->dot->operand, y);
    if (p->status == MP_OK &&
        (mp_decode_code(p->dot->operand, *a) != x || mp_decode_code(p->dot->operand, *b) != y))
        p->status = mp_fail(p->err, MP_EINTERNAL, "%a is not a product of two %s numbers", value,
                            mp_dtype_name(p->dot->operand));
}

static void clear(probe *p) {
    memset(p->a, 0, sizeof p->a);
    memset(p->b, 0, sizeof p->b);
    p->c = 0;
}

static void put(probe *p, int k, double value) {
    put_term(p, &p->a[k], &p->b[k], value);
}

static uint32_t result_code(const probe *p, double value) {
    return (uint32_t)mp_encode_code(p->dot->result, value);
}

static double evaluate_steps(probe *p, int steps) {
    if (p->status == MP_OK)
        p->status = p->dot->evaluate(p->dot->context, steps, p->a, p->b, &p->c, 1, &p->bits, p->err);
    return p->status == MP_OK ? mp_decode_code(p->dot->result, p->bits) : 0;
}

static double evaluate(probe *p) {
    return evaluate_steps(p, 1);
}

static void find_exponent_range(probe *p) {
    const mp_format *operand = mp_dtype_format(p->dot->operand);
    const int most = 2 * ilogb(operand->max_finite);
    int least = 2 * operand->emin;
    if (most - least < 40)
        least -= 2 * (p->dot->precision - 1); /* e4m3: 28 binades are too few, with subnormals there are 34 */
    /* A half result holds 2^10 times a group of 32 ones, and 2^-24. */
    const int most_used = p->dot->result == MP_FP16 ? 10 : 60,
              least_used = p->dot->result == MP_FP16 ? -24 : most_used - 100;
    p->high = most < most_used ? most : most_used;
    p->low = least > least_used ? least : least_used;
}

/* Which terms are summed before which. With +2^high at k=i, -2^high elsewhere and a term 2^low at k=j, the
 * small term outlives the cancellation only when its group comes after the groups of both big ones; in the
 * same group it is shifted out, in an earlier one it is swallowed. "Elsewhere" is c or any other k. So j
 * comes after i exactly if the small term survives for one of these. */
static void measure_groups(probe *p, mp_measurement *m) {
    const int depth = p->dot->depth;
    const size_t vectors = (size_t)(depth * depth), codes = vectors * (size_t)depth;
    const double big = ldexp(1, p->high), small = ldexp(1, p->low);
    uint32_t *a = malloc(codes * sizeof *a), *b = malloc(codes * sizeof *b), *c = malloc(vectors * sizeof *c),
             *d = malloc(vectors * sizeof *d);
    if (!a || !b || !c || !d) {
        p->status = mp_fail(p->err, MP_EMEMORY, "%zu vectors of depth %d", vectors, depth);
        goto out;
    }
    for (int i = 0; i < depth && p->status == MP_OK; i++) {
        memset(a, 0, codes * sizeof *a);
        memset(b, 0, codes * sizeof *b);
        memset(c, 0, vectors * sizeof *c);
        for (int j = 0; j < depth; j++)
            for (int other = 0; other < depth; other++) { /* other == i stands for c */
                const int v = j * depth + other;
                uint32_t *row_a = a + v * depth, *row_b = b + v * depth;
                if (j == i || j == other) continue;
                put_term(p, &row_a[i], &row_b[i], big);
                put_term(p, &row_a[j], &row_b[j], small);
                if (other == i)
                    c[v] = result_code(p, -big);
                else
                    put_term(p, &row_a[other], &row_b[other], -big);
            }
        if (p->status == MP_OK)
            p->status = p->dot->evaluate(p->dot->context, 1, a, b, c, (int64_t)vectors, d, p->err);
        for (int j = 0; j < depth && p->status == MP_OK; j++) {
            bool after = false;
            for (int other = 0; other < depth; other++)
                after |= d[j * depth + other] == result_code(p, small);
            m->rank[j] += after;
        }
    }
    int last_rank = 0, last = 0;
    for (int k = 0; k < depth; k++) last_rank = m->rank[k] > last_rank ? m->rank[k] : last_rank;
    for (int k = 0; k < depth; k++) {
        if (m->rank[k] == 0) p->first[m->group++] = k;
        if (m->rank[k] == last_rank) p->last[last++] = k;
    }
    p->terms = m->group < last ? m->group : last;
    m->ascending = m->group > 0;
    for (int k = 0; k < depth && m->ascending; k++) m->ascending = m->rank[k] == k / m->group * m->group;
out:
    free(a);
    free(b);
    free(c);
    free(d);
}

/* Sums are measured in the last group, because a group that follows cuts the sum once more. */

/* What is left of +2^high, -2^high and `rest`. */
static double beside_cancellation(probe *p, double rest) {
    clear(p);
    put(p, p->last[0], ldexp(1, p->high));
    if (p->terms > 2)
        put(p, p->last[1], ldexp(-1, p->high));
    else
        p->c = result_code(p, ldexp(-1, p->high));
    put(p, p->last[p->terms > 2 ? 2 : 1], rest);
    return evaluate(p);
}

/* From what 1.5, 0.5 and -1.5 units became. */
static mp_rounding_kind classify(double more, double less, double negative) {
    if (more == 1 && less == 0 && negative == -1) return MP_TO_ZERO;
    if (more == 2 && less == 0 && negative == -2) return MP_TO_NEAREST_EVEN;
    if (more == 2 && less == 1 && negative == -2) return MP_TO_NEAREST_AWAY;
    if (more == 1 && less == 0 && negative == -2) return MP_TO_MINUS_INF;
    if (more == 2 && less == 1 && negative == -1) return MP_TO_PLUS_INF;
    return MP_ROUND_OTHER;
}

static void measure_alignment(probe *p, mp_measurement *m) {
    const int spread = p->high - p->low;
    int kept = 0;
    while (kept < spread &&
           beside_cancellation(p, ldexp(1, p->high - kept - 1)) == ldexp(1, p->high - kept - 1))
        kept++;
    m->fraction_bits = kept;
    const double unit = ldexp(1, p->high - kept);
    if (kept + 1 < spread)
        m->alignment =
            classify(beside_cancellation(p, 1.5 * unit) / unit, beside_cancellation(p, 0.5 * unit) / unit,
                     beside_cancellation(p, -1.5 * unit) / unit);
}

/* log2 of the most equal terms that fit in a group beside one more. */
static int log2_ones(const probe *p) {
    int log2 = 0;
    while ((2 << log2) < p->terms) log2++;
    return log2;
}

/* +-2^high at the first 2^log2_ones of these k: a sum with more bits below its leading one than any single
 * term has. */
static void put_ones(probe *p, const int *k, int offset, double sign) {
    for (int i = 0; i < 1 << log2_ones(p); i++) put(p, offset + k[i], sign * ldexp(1, p->high));
}

/* What `rest` adds to the ones of its sign. */
static double beside_ones(probe *p, double rest) {
    const double sign = copysign(1, rest);
    clear(p);
    put_ones(p, p->last, 0, sign);
    put(p, p->last[1 << log2_ones(p)], rest);
    return evaluate(p) - sign * ldexp(1, p->high + log2_ones(p));
}

static void measure_result(probe *p, mp_measurement *m) {
    const int leading = p->high + log2_ones(p), most = m->fraction_bits + log2_ones(p),
              format = mp_dtype_format(p->dot->result)->precision - 1;
    int kept = log2_ones(p); /* the rest is at most 2^high */
    while (kept < most && leading - kept - 1 >= p->low &&
           beside_ones(p, ldexp(1, leading - kept - 1)) == ldexp(1, leading - kept - 1))
        kept++;
    m->result_bits = kept < most ? kept : format;
    if (m->result_bits >= most) return; /* every bit of every sum is in the result */
    const double unit = ldexp(1, leading - m->result_bits);
    m->rounding = classify(beside_ones(p, 1.5 * unit) / unit, beside_ones(p, 0.5 * unit) / unit,
                           beside_ones(p, -1.5 * unit) / unit);

    /* Half a unit is lost from the result. If it is still there when the ones are taken away, the
     * instructions share more than the result. */
    clear(p);
    put_ones(p, p->last, 0, 1);
    put(p, p->last[1 << log2_ones(p)], 0.5 * unit);
    put_ones(p, p->first, p->dot->depth, -1);
    m->hidden_bits = evaluate_steps(p, 2) == 0 ? MP_NO : MP_YES;
}

/* A zero term takes part in the alignment with exponent e_zero: what is smaller than 2^(e_zero-F) is cut off
 * although all else is small too.
 *
 * With c alone: 2^e + 2^(e-bits) is whole from e = e_zero-F+bits on. Normal numbers end before most machines'
 * e_zero, which gives a bound. With products, where they reach far below the results: let 2^t be the smallest
 * subnormal result (-149 with 23 bits). 2^t - 2^p is truncated to 0 as long as 2^p is seen, and stays 2^t
 * when 2^p is cut off, from p = max(t, e_zero)-F-1 on down. */
static void measure_e_zero(probe *p, mp_measurement *m) {
    const mp_format *operand = mp_dtype_format(p->dot->operand), *result = mp_dtype_format(p->dot->result);
    const int bits = m->fraction_bits < m->result_bits ? m->fraction_bits : m->result_bits;
    if (m->c_fused != MP_YES) return;
    int e = result->emin;
    for (; e < ilogb(result->max_finite); e++) {
        clear(p);
        p->c = result_code(p, ldexp(1, e) + ldexp(1, e - bits));
        evaluate(p);
        if (p->bits == p->c) break;
    }
    m->e_zero = e + m->fraction_bits - bits;
    m->e_zero_exact = e > result->emin;

    const int tiny = result->emin - m->result_bits;
    if (m->e_zero_exact || m->rounding != MP_TO_ZERO || operand->emin > result->emin) return;
    for (int exponent = tiny; exponent >= tiny - m->fraction_bits - 1; exponent--) {
        clear(p);
        put(p, p->last[0], ldexp(1, tiny));
        if (exponent < tiny) put(p, p->last[1], ldexp(-1, exponent));
        const bool stays = evaluate(p) == ldexp(1, tiny);
        if (exponent == tiny && !stays) return; /* subnormal results are flushed */
        if (exponent == tiny || !stays) continue;
        m->e_zero = exponent + 1 + m->fraction_bits;
        m->e_zero_exact = m->e_zero > tiny;
        return;
    }
}

static void measure_c(probe *p, mp_measurement *m) {
    clear(p);
    if (p->terms < 2) {
        m->c_fused = MP_YES; /* as the addend of a fused multiply-add */
        return;
    }
    const double small = ldexp(1, p->dot->result == MP_FP16 ? -24 : p->high - 60);
    put(p, p->first[0], ldexp(1, p->high));
    put(p, p->first[1], ldexp(-1, p->high));
    p->c = result_code(p, small);
    m->c_fused = evaluate(p) == small ? MP_NO : MP_YES;
}

static void measure_subnormals(probe *p, mp_measurement *m) {
    const mp_format *operand = mp_dtype_format(p->dot->operand), *result = mp_dtype_format(p->dot->result);
    const double least = ldexp(1, operand->emin - p->dot->precision + 1),
                 factor = ldexp(1, operand->emin > -100 ? 0 : 30);
    clear(p);
    p->a[0] = (uint32_t)mp_encode_code(p->dot->operand, least);
    p->b[0] = (uint32_t)mp_encode_code(p->dot->operand, factor);
    m->subnormal_operands = evaluate(p) == least * factor ? MP_YES : MP_NO;

    const int exponent = result->emin - 3;
    clear(p);
    if (exponent >= 2 * operand->emin)
        put(p, 0, ldexp(1, exponent));
    else
        p->c = result_code(p, ldexp(1, exponent));
    m->subnormal_results = evaluate(p) == ldexp(1, exponent) ? MP_YES : MP_NO;
}

static void measure_specials(probe *p, mp_measurement *m) {
    const mp_dot *dot = p->dot;
    const mp_format *operand = mp_dtype_format(dot->operand), *result = mp_dtype_format(dot->result);
    const int underflow = result->emin - result->precision - 3;
    const uint32_t one = (uint32_t)mp_encode_code(dot->operand, 1);
    clear(p);
    for (int k = 0; k < dot->depth; k++) p->a[k] = (uint32_t)mp_encode_code(dot->operand, -0.0);
    p->c = result_code(p, -0.0);
    evaluate(p);
    m->zero[0] = p->bits;
    clear(p);
    put(p, 0, 1);
    p->c = result_code(p, -1);
    evaluate(p);
    m->zero[1] = p->bits;
    if (underflow >= 2 * operand->emin) {
        clear(p);
        put(p, 0, ldexp(-1, underflow));
        evaluate(p);
        m->zero[2] = p->bits;
    }

    clear(p);
    p->a[0] = (uint32_t)mp_encode_code(dot->operand, NAN);
    p->b[0] = one;
    evaluate(p);
    m->nan[0] = m->nan[1] = m->nan[2] = p->bits;
    if (operand->has_inf) {
        clear(p);
        p->a[0] = (uint32_t)mp_encode_code(dot->operand, INFINITY);
        evaluate(p);
        m->nan[1] = p->bits;
        p->b[0] = p->b[1] = one;
        p->a[1] = (uint32_t)mp_encode_code(dot->operand, -INFINITY);
        evaluate(p);
        m->nan[2] = p->bits;
    }
    clear(p);
    p->c = dot->result == MP_FP16 ? 0xFE55 : 0xFFC12345;
    evaluate(p);
    m->nan[3] = p->bits;
}

mp_status mp_measure_dot(const mp_dot *dot, mp_measurement *m, mp_error *err) {
    probe p = {.dot = dot, .err = err, .status = MP_OK};
    *m = (mp_measurement){.depth = dot->depth, .fraction_bits = -1, .result_bits = -1, .e_zero = INT_MAX};
    find_exponent_range(&p);
    measure_groups(&p, m);
    if (p.status == MP_OK) measure_c(&p, m);
    if (p.status == MP_OK && p.terms >= 2) {
        measure_alignment(&p, m);
        measure_result(&p, m);
        measure_e_zero(&p, m);
    }
    if (p.status == MP_OK) measure_subnormals(&p, m);
    if (p.status == MP_OK) measure_specials(&p, m);
    return p.status;
}

bool mp_measurement_equal(const mp_measurement *a, const mp_measurement *b, const char **field) {
    *field = NULL;
    if (a->depth != b->depth)
        *field = "depth";
    else if (memcmp(a->rank, b->rank, sizeof a->rank) != 0)
        *field = "groups";
    else if (a->c_fused != b->c_fused)
        *field = "c fused";
    else if (a->fraction_bits != b->fraction_bits)
        *field = "F";
    else if (a->alignment != b->alignment)
        *field = "alignment";
    else if (a->result_bits != b->result_bits)
        *field = "result bits";
    else if (a->rounding != b->rounding)
        *field = "rounding";
    else if (a->e_zero != b->e_zero || a->e_zero_exact != b->e_zero_exact)
        *field = "e_zero";
    else if (a->hidden_bits != b->hidden_bits)
        *field = "hidden bits";
    else if (a->subnormal_operands != b->subnormal_operands)
        *field = "subnormal operands";
    else if (a->subnormal_results != b->subnormal_results)
        *field = "subnormal results";
    else if (memcmp(a->zero, b->zero, sizeof a->zero) != 0)
        *field = "zero results";
    else if (memcmp(a->nan, b->nan, sizeof a->nan) != 0)
        *field = "NaN results";
    return *field == NULL;
}

const char *mp_rounding_kind_name(mp_rounding_kind kind) {
    static const char *const names[] = {"rounding not observable", "to zero", "to nearest even",
                                        "to nearest, ties away",   "down",    "up",
                                        "rounding of another kind"};
    return names[kind];
}

const char *mp_seen_name(mp_seen seen) {
    static const char *const names[] = {"not observable", "no", "yes"};
    return names[seen];
}

/* "7FFFFFFF", or all of them when they differ. */
static void bits_text(const uint32_t *bits, int count, char *text, size_t size) {
    bool same = true;
    int length = snprintf(text, size, "%08X", bits[0]);
    for (int i = 1; i < count; i++) same &= bits[i] == bits[0];
    for (int i = 1; i < count && !same; i++)
        length += snprintf(text + length, size - (size_t)length, "/%08X", bits[i]);
}

void mp_measurement_text(const mp_measurement *m, char *text, size_t size) {
    char zero[64], nan[64], e_zero[32] = "not observable";
    bool emulated = m->depth > m->group;
    for (int k = 0; k < m->depth; k++) emulated &= m->rank[k] == (k % 4 < 2 ? 0 : m->depth / 2);
    bits_text(m->zero, 3, zero, sizeof zero);
    bits_text(m->nan, 4, nan, sizeof nan);
    if (m->e_zero != INT_MAX) snprintf(e_zero, sizeof e_zero, "%s%d", m->e_zero_exact ? "" : "<=", m->e_zero);
    snprintf(text, size,
             "L=%d %s, c %s, F=%d %s, result %d bits %s, e_zero %s, hidden bits %s, subnormal operands %s, "
             "results %s, zero %s, NaN %s",
             m->group,
             m->ascending ? "ascending"
             : emulated   ? "k mod 4 in {0,1} first"
                          : "in another order",
             m->c_fused == MP_NO ? "added last" : "fused", m->fraction_bits,
             mp_rounding_kind_name(m->alignment), m->result_bits, mp_rounding_kind_name(m->rounding), e_zero,
             mp_seen_name(m->hidden_bits), m->subnormal_operands == MP_YES ? "kept" : "flushed",
             m->subnormal_results == MP_YES ? "kept" : "flushed", zero, nan);
}
