/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/probe/probe_random.h"

#include "cases/fill.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 16384 /* vectors evaluated at a time */

const char *mp_probe_mode_name(mp_probe_mode mode) {
    static const char *const names[] = {"moderate", "codes", "special"};
    return names[mode];
}

/* The numbers one vector is made of, one after another. */
typedef struct draws {
    uint64_t key, next;
} draws;

static int64_t draw(draws *d, int64_t n) {
    return mp_below(mp_bits(d->key, d->next++), n);
}

/* Where sign, exponent and fraction lie in a code. */
typedef struct layout {
    int bits, fraction_bits, bias, emin, emax;
    bool has_inf;
} layout;

static layout layout_of(mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    return (layout){.bits = f->bits,
                    .fraction_bits = f->precision - 1,
                    .bias = 1 - f->emin,
                    .emin = f->emin,
                    .emax = ilogb(f->max_finite),
                    .has_inf = f->has_inf};
}

static uint32_t assemble(const layout *l, int64_t sign, int64_t field, int64_t fraction) {
    return (uint32_t)(sign << (l->bits - 1) | field << l->fraction_bits | fraction);
}

static uint32_t any_code(draws *d, const layout *l) {
    return (uint32_t)draw(d, INT64_C(1) << l->bits);
}

/* Exponents from -reach to reach - 1, as far as the format has them. */
static uint32_t moderate_code(draws *d, const layout *l, int reach) {
    const int lo = -reach > l->emin ? -reach : l->emin, hi = reach - 1 < l->emax ? reach - 1 : l->emax - 1;
    return assemble(l, draw(d, 2), lo + draw(d, hi - lo + 1) + l->bias,
                    draw(d, INT64_C(1) << l->fraction_bits));
}

static uint32_t special_code(draws *d, const layout *l, bool wide, bool with_inf_nan) {
    const int64_t all_exponent = (INT64_C(1) << (l->bits - 1 - l->fraction_bits)) - 1,
                  all_fraction = (INT64_C(1) << l->fraction_bits) - 1;
    const int64_t kind = draw(d, 32);
    if (kind < 4) return assemble(l, draw(d, 2), 0, 0);
    if (kind < 8) return assemble(l, draw(d, 2), 0, 1 + draw(d, all_fraction));
    if (kind == 8 && with_inf_nan)
        return assemble(l, draw(d, 2), all_exponent, draw(d, 2) && l->has_inf ? 0 : all_fraction);
    if (!wide) return moderate_code(d, l, 8);
    return assemble(l, draw(d, 2), draw(d, l->has_inf ? all_exponent : all_exponent + 1),
                    draw(d, all_fraction)); /* neither Inf nor NaN */
}

/* Some terms become another one's negative; c may become the negative of the first product. */
static void cancel_terms(draws *d, const mp_dot *dot, const layout *operand, uint32_t *a, uint32_t *b,
                         uint32_t *c) {
    for (int k = 0; k < dot->depth; k++) {
        if (draw(d, 4)) continue;
        const int64_t other = draw(d, dot->depth);
        a[k] = a[other] ^ 1u << (operand->bits - 1);
        b[k] = b[other];
    }
    if (draw(d, 4)) return;
    const uint32_t kept = dot->operand == MP_FP32 ? ~UINT32_C(0x1FFF) : ~UINT32_C(0); /* tf32 */
    *c = (uint32_t)mp_encode_code(dot->result, -mp_decode_code(dot->operand, a[0] & kept) *
                                                   mp_decode_code(dot->operand, b[0] & kept));
}

/* Any codes; c is small, or anything, or so near one of its limits that some sums pass it, or passed it in
 * the middle. */
static void integer_vector(draws *d, mp_probe_mode mode, int depth, uint32_t *a, uint32_t *b, uint32_t *c) {
    for (int k = 0; k < depth; k++) {
        a[k] = (uint32_t)draw(d, 256);
        b[k] = (uint32_t)draw(d, 256);
    }
    const int64_t reach = mode == MP_PROBE_CODES ? INT64_C(1) << 31 : 1 << 17,
                  centre = mode == MP_PROBE_SPECIAL ? INT64_C(1) << 31 : 0;
    *c = (uint32_t)(centre + draw(d, 2 * reach) - reach);
}

void mp_probe_random_vector(const mp_dot *dot, mp_probe_mode mode, int64_t seed, int64_t index, uint32_t *a,
                            uint32_t *b, uint32_t *c) {
    draws d = {.key = mp_bits(mp_stream_key(seed, (int)mode), (uint64_t)index)};
    if (dot->operand == MP_I32) {
        integer_vector(&d, mode, dot->depth, a, b, c);
        return;
    }
    const layout operand = layout_of(dot->operand), result = layout_of(dot->result);
    const bool with_inf_nan = draw(&d, 4) == 0, wide = draw(&d, 2) == 0;
    for (int k = 0; k < 2 * dot->depth; k++) {
        uint32_t *code = k < dot->depth ? &a[k] : &b[k - dot->depth];
        *code = mode == MP_PROBE_MODERATE ? moderate_code(&d, &operand, 8)
                : mode == MP_PROBE_CODES  ? any_code(&d, &operand)
                                          : special_code(&d, &operand, wide, with_inf_nan);
    }
    *c = mode == MP_PROBE_MODERATE ? (draw(&d, 8) ? moderate_code(&d, &result, 16) : 0)
         : mode == MP_PROBE_CODES  ? any_code(&d, &result)
                                   : special_code(&d, &result, wide, with_inf_nan);
    if (mode == MP_PROBE_SPECIAL) cancel_terms(&d, dot, &operand, a, b, c);
}

/* Appends "NAME=" and the codes up to the last one that is not 0, equal ones counted. */
static size_t put_codes(char *text, size_t size, size_t at, const char *name, const uint32_t *codes,
                        int count, int digits) {
    while (count > 1 && codes[count - 1] == 0) count--;
    for (int k = 0, run; k < count && at < size; k += run) {
        run = 1;
        while (k + run < count && codes[k + run] == codes[k]) run++;
        at += (size_t)snprintf(text + at, size - at, "%s%0*X", k == 0 ? name : ",", digits, codes[k]);
        if (run > 1 && at < size) at += (size_t)snprintf(text + at, size - at, "x%d", run);
    }
    return at;
}

void mp_probe_vector_text(const mp_dot *dot, const uint32_t *a, const uint32_t *b, uint32_t c, char *text,
                          size_t size) {
    const int digits = dot->operand == MP_I32 ? 2 : 2 * (int)mp_dtype_size(dot->operand);
    size_t at = put_codes(text, size, 0, "a=", a, dot->depth, digits);
    at = put_codes(text, size, at, " b=", b, dot->depth, digits);
    if (at < size) snprintf(text + at, size - at, " c=%0*X", 2 * (int)mp_dtype_size(dot->result), c);
}

mp_status mp_probe_compare(const mp_dot *device, const mp_dot *model, mp_probe_mode mode, int64_t seed,
                           int64_t count, mp_probe_mismatches *result, mp_error *err) {
    mp_status status = MP_OK;
    const int depth = device->depth;
    uint32_t *a = malloc(BATCH * (size_t)depth * sizeof *a), *b = malloc(BATCH * (size_t)depth * sizeof *b),
             *c = malloc(BATCH * sizeof *c);
    uint32_t *got = malloc(BATCH * sizeof *got), *expected = malloc(BATCH * sizeof *expected);
    *result = (mp_probe_mismatches){.vectors = count};
    if (!a || !b || !c || !got || !expected)
        status = mp_fail(err, MP_EMEMORY, "%d random vectors of depth %d", BATCH, depth);
    for (int64_t first = 0; first < count && status == MP_OK; first += BATCH) {
        const int64_t batch = count - first < BATCH ? count - first : BATCH;
#pragma omp parallel for
        for (int64_t v = 0; v < batch; v++)
            mp_probe_random_vector(device, mode, seed, first + v, a + v * depth, b + v * depth, c + v);
        status = device->evaluate(device->context, 1, a, b, c, batch, got, err);
        if (status == MP_OK) status = model->evaluate(model->context, 1, a, b, c, batch, expected, err);
        for (int64_t v = 0; v < batch && status == MP_OK; v++) {
            if (got[v] == expected[v] || result->mismatches++ > 0) continue;
            char text[960];
            mp_probe_vector_text(device, a + v * depth, b + v * depth, c[v], text, sizeof text);
            snprintf(result->first, sizeof result->first, "%s -> %08X, model %08X", text, got[v],
                     expected[v]);
        }
    }
    free(a);
    free(b);
    free(c);
    free(got);
    free(expected);
    return status;
}
