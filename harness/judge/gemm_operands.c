/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/gemm_operands.h"

#include "base/clones.h"
#include "base/maker.h"
#include "base/threads.h"

#include <math.h>
#include <stdlib.h>

/* Codes without their sign are ordered as the magnitudes they stand for: the largest finite one, by
 * integers. */
MP_CLONES static uint64_t largest_code_16(const uint16_t *codes, int64_t n, uint16_t most) {
    uint16_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t magnitude = codes[i] & 0x7FFF, finite = magnitude <= most ? magnitude : 0;
        largest = finite > largest ? finite : largest;
    }
    return largest;
}

MP_CLONES static uint64_t largest_code_32(const uint32_t *codes, int64_t n, uint32_t most) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t magnitude = codes[i] & 0x7FFFFFFF, finite = magnitude <= most ? magnitude : 0;
        largest = finite > largest ? finite : largest;
    }
    return largest;
}

/* PIECE numbers of a row are looked at at a time. */
enum { PIECE = 256 };

/* Of any other format. */
MP_CLONES static double largest_of(const double *v, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const double magnitude = fabs(v[i]), finite = magnitude < (double)INFINITY ? magnitude : 0;
        largest = finite > largest ? finite : largest;
    }
    return largest;
}

static bool is_read(const bool *experts, const mp_tensor *w, int64_t row) {
    return !experts || experts[row / w->dim[1]];
}

double mp_largest_magnitude(const mp_tensor *t, const bool *experts) {
    const int64_t rows = mp_tensor_rows(t), length = mp_tensor_row_length(t);
    const uint64_t most = mp_encode_code(t->dtype, mp_dtype_format(t->dtype)->max_finite);
    const int bits = mp_dtype_bits(t->dtype);
    double largest = 0;
    if (t->maker) return t->maker->largest(t->maker, t->dim[0] == t->maker->units ? experts : NULL);
#pragma omp parallel for reduction(max : largest) schedule(static) if (mp_worth_threads(rows, length / 4))
    for (int64_t r = 0; r < rows; r++) {
        const void *row = mp_tensor_row(t, r);
        double here = 0;
        if (!is_read(experts, t, r)) continue;
        if (bits == 16) {
            here = mp_decode_code(t->dtype, largest_code_16(row, length, (uint16_t)most));
        } else if (bits == 32) {
            here = mp_decode_code(t->dtype, largest_code_32(row, length, (uint32_t)most));
        } else {
            double v[PIECE];
            for (int64_t first = 0; first < length; first += PIECE) {
                const int64_t n = length - first < PIECE ? length - first : PIECE;
                mp_decode_row(t->dtype, row, first, n, v);
                here = fmax(here, largest_of(v, n));
            }
        }
        largest = here > largest ? here : largest;
    }
    return largest;
}

/* Codes that have a zero point have no sign: |code - zero| is at most the larger of both. */
double mp_largest_number(const mp_operand *o, const bool *experts) {
    const double zero = o->zeros ? mp_dtype_format(o->codes->dtype)->max_finite : abs(o->zero),
                 code = fmax(mp_largest_magnitude(o->codes, experts), o->scale ? zero : 0),
                 scale = o->scale ? mp_largest_magnitude(o->scale, NULL) : 1,
                 global = o->global ? mp_largest_magnitude(o->global, NULL) : 1;
    return code * scale * global;
}

/* ---- what rows hold ---- */

typedef bool number_test(double v, double than);

static inline bool is_fraction(double v, double than) {
    (void)than;
    return v != rint(v);
}

static inline bool is_a_term(double v, double than) {
    (void)than;
    return v != 0;
}

static inline bool is_smaller(double v, double than) {
    return v != 0 && fabs(v) < than;
}

/* How many of a row's numbers are such; once there are `enough`, no further ones are looked at. */
static inline int64_t count_in_row(const mp_operand *o, int64_t row, number_test *is, double than,
                                   int64_t enough) {
    const int64_t length = mp_tensor_row_length(o->codes);
    double v[PIECE];
    int64_t count = 0;
    for (int64_t first = 0; first < length && count < enough; first += PIECE) {
        const int64_t here = length - first < PIECE ? length - first : PIECE;
        mp_operand_decode(o, row, first, here, v);
        for (int64_t i = 0; i < here; i++) count += is(v[i], than);
    }
    return count;
}

static bool row_is_integer(const mp_operand *o, int64_t row) {
    return count_in_row(o, row, is_fraction, 0, 1) == 0;
}

static bool row_is_onehot(const mp_operand *o, int64_t row) {
    return count_in_row(o, row, is_a_term, 0, 2) < 2;
}

int64_t mp_most_subnormals(const mp_operand *o, mp_dtype format) {
    const double smallest = ldexp(1.0, mp_dtype_format(format)->emin);
    const int64_t rows = mp_tensor_rows(o->codes);
    const bool threads = mp_worth_threads(rows, 4 * mp_tensor_row_length(o->codes));
    int64_t most = 0;
    mp_tensor_make(o->codes, NULL);
#pragma omp parallel for reduction(max : most) schedule(static) if (threads)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t here = count_in_row(o, r, is_smaller, smallest, INT64_MAX);
        most = here > most ? here : most;
    }
    return most;
}

typedef bool row_test(const mp_operand *o, int64_t row);

static bool all_weights(const mp_gemm_problem *p, const bool *experts, row_test *is) {
    const mp_maker *maker = p->w.scale ? NULL : p->w.codes->maker; /* who makes numbers knows such */
    if (maker && (is == row_is_integer ? maker->integers : maker->onehot)) return true;
    mp_tensor_make(p->w.codes, experts);
    for (int64_t r = 0; r < mp_tensor_rows(p->w.codes); r++)
        if (is_read(experts, p->w.codes, r) && !is(&p->w, r)) return false;
    return true;
}

static bool all_activations(const mp_gemm_problem *p, row_test *is) {
    const mp_maker *maker = p->a.scale ? NULL : p->a.codes->maker;
    if (maker && (is == row_is_integer ? maker->integers : maker->onehot)) return true;
    mp_tensor_make_rows(p->a.codes, p->a_row, p->slots);
    for (int64_t t = 0; t < p->slots; t++)
        if (p->topk_ids[t] >= 0 && p->a_row[t] >= 0 && !is(&p->a, p->a_row[t])) return false;
    return true;
}

bool mp_sums_are_exact(const mp_case *c, const mp_gemm_problem *p, const bool *experts) {
    if (c->data == MP_ONEHOT && p->w.scale) return false; /* one term, but scaled: roundings of its own */
    if (c->data == MP_ONEHOT)
        return all_activations(p, row_is_onehot) || all_weights(p, experts, row_is_onehot);
    if (c->data != MP_INTEGER && c->data != MP_FROM_FILE) return false;
    return all_weights(p, experts, row_is_integer) && all_activations(p, row_is_integer);
}
