/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors on their way into a golden: datasets in the layout of this program, and their roots. */
#ifndef MP_GOLDEN_PUT_H
#define MP_GOLDEN_PUT_H

#include "golden/h5.h"
#include "golden/tree.h"
#include "moeparity/tensor.h"

/* A new group of that name. */
mp_status mp_put_group(hid_t parent, const char *name, hid_t *group, mp_error *err);
/* 16 hexadecimal digits. */
mp_status mp_put_hex(hid_t object, const char *name, uint64_t digest, mp_error *err);

/* The tensor `name` of a group, with the root of its rows (golden/root.h) as an attribute where there is one,
 * root != NULL: in full; as the digests of its rows; as a tree over them. shape has no data. */
mp_status mp_put_full(hid_t group, const char *name, const mp_tensor *t, const uint64_t *root, mp_error *err);
mp_status mp_put_digests(hid_t group, const char *name, const mp_tensor *shape, const uint64_t *digests,
                         const uint64_t *root, mp_error *err);
mp_status mp_put_tree(hid_t group, const char *name, const mp_tensor *shape, const mp_tree *tree,
                      const uint64_t *root, mp_error *err);
/* Which of its rows count for nothing. */
mp_status mp_put_left_out(hid_t group, const char *name, int64_t rows, const uint8_t *left_out,
                          mp_error *err);

#endif
