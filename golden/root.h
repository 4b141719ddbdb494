/* SPDX-License-Identifier: Apache-2.0 */
/* Roots: one digest for a tensor, for a case, for a file, each over those below it. Goldens with one root say
 * the same; a root that is not that of what lies below it means that the file was changed after it was made.
 *
 *   of a tensor  XXH3 of "SHAPE DIGEST", as `bf16[32,2,512] 0123456789abcdef`: the digest is the XXH3 of the
 *                digests of its rows (64 bits each, little-endian), or of the words of the tree over them
 *                where it has more than MP_TREE_GROUP rows (golden/tree.h), in which rows that hold no result
 *                count for nothing. So it is the same whether the tensor is stored in full or not.
 *   of a case    XXH3 of lines: its name, the digest of its contract, config, block_size_m, the digest of the
 *                inputs (each empty where it is not known), and `TENSOR ROOT` of each tensor of the trace
 *   of a file    XXH3 of lines: fill version, and `CASE ROOT` of each case in the order of the names
 * Who recorded when, and which inputs are stored in full, is in none of them. */
#ifndef MP_GOLDEN_ROOT_H
#define MP_GOLDEN_ROOT_H

#include "golden/store.h"
#include "golden/tree.h"

/* Of what a dataset of digests or of a tree holds. */
uint64_t mp_root_of_digests(const mp_tensor *shape, const uint64_t *digests);
uint64_t mp_root_of_tree(const mp_tensor *shape, const mp_tree *tree);
/* The digests of all rows, and what is kept of them: `tree` where the tensor has more than MP_TREE_GROUP
 * rows, else node == NULL, and the digests themselves. Both are freed by the caller. */
typedef struct mp_row_digests {
    uint64_t *digest;
    mp_tree tree;
    uint64_t root;
} mp_row_digests;
mp_status mp_row_digests_of(const mp_tensor *t, const uint8_t *left_out, mp_row_digests *rows, mp_error *err);
/* Of digests that are there: fills tree and root. */
mp_status mp_row_digests_finish(const mp_tensor *shape, const uint8_t *left_out, mp_row_digests *rows,
                                mp_error *err);
void mp_row_digests_free(mp_row_digests *rows);

/* Of a stored tensor, from its numbers; left_out as stored with it. */
mp_status mp_root_of_stored(const mp_stored *stored, const uint8_t *left_out, uint64_t *root, mp_error *err);

/* MP_EMEMORY. */
mp_status mp_root_of_case(const mp_golden_entry *entry, const mp_tensor_roots *tensors, uint64_t *root,
                          mp_error *err);
/* Of a file whose cases all have their root. */
mp_status mp_root_of_file(int fill_version, const mp_golden_entry *entries, size_t count, uint64_t *root,
                          mp_error *err);

#endif
