/* SPDX-License-Identifier: Apache-2.0 */
/* What is summed over, and how rows and tiles end. */
#include "cases/conditions/conditions.h"

/* An odd number of whole groups of 16 in the sum of stage n. */
static bool odd_groups(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return length_of(c, (mp_stage)n) % 32 == 16;
}

static bool even_groups(const mp_case *c, const mp_figures *f, int64_t n) {
    const int64_t length = length_of(c, (mp_stage)n);
    (void)f;
    return length > 0 && length % 32 == 0;
}

static bool row_tail(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)c;
    int bit = 0;
    while (n >> bit > 1) bit++;
    return f->row_tails >> bit & 1;
}

static bool k_tail_of_tile(const mp_case *c, const mp_figures *f, int64_t n) {
    const int block = c->tile.block_size_k;
    (void)f, (void)n;
    return multiplies(c) && block > 0 && (c->K % block != 0 || c->N % block != 0);
}

static bool column_tail_of_tile(const mp_case *c, const mp_figures *f, int64_t n) {
    const int block = c->tile.block_size_n;
    (void)f, (void)n;
    return multiplies(c) && block > 0 && (mp_case_w1_rows(c) % block != 0 || c->K % block != 0);
}

static bool row_tail_of_tile(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)n;
    return c->tile.block_size_m > 0 && row_tail(c, f, c->tile.block_size_m);
}

static bool long_and_ragged_k(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->K >= 1024 && k_tail(c, f, n);
}

static bool long_and_ragged_n(const mp_case *c, const mp_figures *f, int64_t n) {
    return c->N >= 1024 && n_tail(c, f, n);
}

/* A row of 16-bit numbers that does not end on n bytes. */
static bool k_unaligned(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->K * 2 % n != 0;
}

static bool n_unaligned(const mp_case *c, const mp_figures *f, int64_t n) {
    (void)f;
    return multiplies(c) && c->N * 2 % n != 0;
}

#define TAILS(B)                                                                                            \
    {"k-tail-" #B, "K is more than " #B ", and no multiple of it", WHERE(k_tail, B)},                       \
        {"n-tail-" #B, "N is more than " #B ", and no multiple of it", WHERE(n_tail, B)}, {                 \
        "row-tail-" #B, "an expert's slots are more than " #B ", and no multiple of it", WHERE(row_tail, B) \
    }

static const mp_condition conditions[] = {
    {"k-even-groups", "K is an even number of groups of 16", WHERE(even_groups, MP_GATE_UP)},
    {"k-odd-groups", "K is an odd number of groups of 16", WHERE(odd_groups, MP_GATE_UP)},
    {"n-even-groups", "N is an even number of groups of 16", WHERE(even_groups, MP_DOWN)},
    {"n-odd-groups", "N is an odd number of groups of 16", WHERE(odd_groups, MP_DOWN)},
    TAILS(8),
    TAILS(16),
    TAILS(32),
    TAILS(64),
    TAILS(128),
    TAILS(256),
    {"k-tail-of-tile", "a named tile's BLOCK_SIZE_K does not divide K or N", WHERE(k_tail_of_tile, 0)},
    {"column-tail-of-tile", "its BLOCK_SIZE_N does not divide the columns of gate_up or down",
     WHERE(column_tail_of_tile, 0)},
    {"row-tail-of-tile", "its BLOCK_SIZE_M does not divide an expert's slots, which are more",
     WHERE(row_tail_of_tile, 0)},
    {"long-k-tail", "K is 1024 or more, and no multiple of 64", WHERE(long_and_ragged_k, 64)},
    {"long-n-tail", "N is 1024 or more, and no multiple of 64", WHERE(long_and_ragged_n, 64)},
    {"k-unaligned-16", "rows of 16-bit numbers along K do not end on 16 bytes", WHERE(k_unaligned, 16)},
    {"n-unaligned-16", "rows of 16-bit numbers along N do not end on 16 bytes", WHERE(n_unaligned, 16)},
    {"k-unaligned-4", "they do not end on 4 bytes", WHERE(k_unaligned, 4)},
    {"n-unaligned-4", "they do not end on 4 bytes, along N", WHERE(n_unaligned, 4)},
    {"k-of-one", "K is 1", IF("K=1"), WHERE(has_gemm, 0)},
    {"n-of-one", "N is 1", IF("N=1"), WHERE(has_gemm, 0)},
};
const mp_condition_list mp_conditions_of_sums = LIST_OF(conditions);
