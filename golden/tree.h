/* SPDX-License-Identifier: Apache-2.0 */
/* The digests of a tensor's rows in few bytes, from which the rows that differ can be told.
 *
 * A row's digest is its XXH3 of 64 bits. Kept one by one they cost 8 bytes a row; what is kept of more rows
 * than MP_TREE_GROUP are weighted sums of them, a few a group, in the field of the integers modulo p =
 * 2^61 - 1: of rows i = 1..n of a group, with digests d_i, the words
 *
 *     S_j = sum of d_i * i^j mod p,   j = 0 .. words-1.
 *
 * They are the syndromes of a Reed-Solomon code whose errors are the changes of digests. Where at most
 * words/2 rows of the group have changed, the differences of two files' words tell which (Berlekamp and
 * Massey find the polynomial whose roots are the rows; each row of the group is tried). Where more have, the
 * group is told, and that they are more.
 *
 * What is missed. The words of a Vandermonde matrix: up to `words` changed digests never cancel, and more
 * cancel with a probability of p^-words. So a change is missed where digests are equal: 2^-61 for each row
 * that changed, whatever the size of the tensor. A wrong row is told where more than words/2 rows changed and
 * their words look like those of fewer: for t = words/2 = 4 and 512 rows C(512,4)/p^4, less than 2^-208. This
 * is no protection against who looks for collisions: XXH3 is no cryptographic digest. */
#ifndef MP_GOLDEN_TREE_H
#define MP_GOLDEN_TREE_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stdint.h>

#define MP_TREE_GROUP 512 /* rows; a tensor of no more has its digests kept one by one */
#define MP_TREE_BYTES \
    4096 /* what the words of a tensor may take, if they can be no fewer than MP_TREE_WORDS */
#define MP_TREE_WORDS 8
#define MP_TREE_P ((UINT64_C(1) << 61) - 1)

typedef struct mp_tree {
    int64_t rows, group_rows, groups; /* the last group may have fewer rows */
    int words;
    uint64_t *node; /* [groups, words], below MP_TREE_P */
} mp_tree;

/* The shape that a tensor of so many rows gets here, node == NULL: groups of MP_TREE_GROUP rows, and as many
 * words each, a power of two from MP_TREE_WORDS on, as stay within MP_TREE_BYTES. 8 bytes in 64 rows for
 * large ones: 8.8 kB for 70,000 rows. */
mp_tree mp_tree_shape(int64_t rows);
/* Allocates the words, all 0. */
mp_status mp_tree_start(mp_tree *tree, mp_error *err);
void mp_tree_free(mp_tree *tree); /* takes one without words */
/* Adds the digest of a row; each row once at most. A row that is never added counts as nothing. */
void mp_tree_add(mp_tree *tree, int64_t row, uint64_t digest);
/* Adds some rows, of which row `first` has digest[0]. */
void mp_tree_add_rows(mp_tree *tree, int64_t first, int64_t count, const uint64_t *digest,
                      const uint8_t *left_out);

/* Calls row for each row that differs and is told, in ascending order within its group, and group for each
 * group of which only that is known, with its first and last row. Both trees have one shape.
 * MP_EMEMORY. */
typedef struct mp_tree_visit {
    void (*row)(void *ctx, int64_t row);
    void (*group)(void *ctx, int64_t first, int64_t last, int more_than);
    void *ctx;
} mp_tree_visit;
mp_status mp_tree_compare(const mp_tree *a, const mp_tree *b, const mp_tree_visit *visit, mp_error *err);
bool mp_tree_same_shape(const mp_tree *a, const mp_tree *b);

/* Rows that hold no result are marked in a set of bits, row r by bit r%8 of byte r/8; NULL: none is. */
static inline bool mp_is_left_out(const uint8_t *left_out, int64_t row) {
    return left_out && left_out[row / 8] >> (row % 8) & 1;
}

#endif
