/* SPDX-License-Identifier: Apache-2.0 */
/* What the writing and the reading half of golden/ share. Private to this folder. */
#ifndef MP_GOLDEN_STORE_H
#define MP_GOLDEN_STORE_H

#include "golden/files.h"
#include "golden/h5.h"
#include "golden/tree.h"
#include "moeparity/golden.h"

#define MP_GOLDEN_FORMAT "moeparity golden"
#define MP_GOLDEN_FORMAT_VERSION 2 /* 2: trees and roots */
#define MP_DIGEST_SUFFIX ".digest"
#define MP_TREE_SUFFIX ".tree"
#define MP_LEFT_OUT_SUFFIX ".left_out"
#define MP_GROUP_ROWS "group_rows" /* attribute of a tree */
#define MP_ROOT "root"             /* attribute of tensors, cases and the file: golden/root.h */
#define MP_MOST_GROUP_ROWS 4096
#define MP_MOST_TREE_WORDS 512
#define MP_INPUTS_GROUP "inputs"
#define MP_MOST_BLOCK_SIZE_M 256

#define MP_GOLDEN_TEXT_MAX 4096 /* of a contract or a configuration, with its NUL */

struct mp_golden {
    hid_t file;
    char *path;
    bool writing, failed; /* failed: a case could not be written, so the file must not be committed */
    bool store_inputs;
    size_t digest_above;
    void *image; /* writing: the finished file, once HDF5 has closed it */
    mp_provenance who;
    int fill_version;
    bool has_root;
    uint64_t root;
    mp_golden_entry *entries; /* the cases in the order in which they were recorded */
    size_t count, capacity;
    size_t *by_name; /* reading: indices of entries in the order of their names */
};

/* Fields of the provenance are attributes of the file; a case whose are others has its own. */
mp_status mp_golden_write_provenance(hid_t object, const mp_provenance *who, mp_error *err);
mp_status mp_golden_read_provenance(hid_t object, mp_provenance *who, mp_error *err);

/* The provenance fields and the root attributes they are stored as. */
typedef struct mp_provenance_field {
    const char *name;
    size_t offset, size;
} mp_provenance_field;
#define MP_PROVENANCE_FIELDS 7
extern const mp_provenance_field mp_provenance_fields[MP_PROVENANCE_FIELDS];

/* File access without locks: a golden is replaced by rename and never changed in place, and read-only media
 * refuse locks. */
hid_t mp_golden_access(void);

/* One tensor as stored: the tensor itself, the digests of its rows, or a tree over them. */
typedef struct mp_stored {
    hid_t dataset; /* negative: not stored */
    bool digest;   /* digests or a tree */
    mp_tree tree;  /* words > 0: a tree of this shape, without its words */
    bool has_root;
    uint64_t root;
    mp_tensor shape;       /* of the tensor, also for digests; data == NULL */
    int64_t chunk_entries; /* of the dataset's first axis in a chunk; 0: not in chunks */
} mp_stored;
/* Finds `name` in the group, in full or as digests; a tensor that is not there is no error. What is found has
 * the shape that the case gives it (plan; no elements: the case has no such tensor; NULL: any), and can be
 * read: its numbers lie in the file itself, all of them, with no filters but those that mp_golden_write uses,
 * and the size of its chunks is in keeping with that of the tensor. */
mp_status mp_stored_open(hid_t group, const char *name, const mp_tensor *plan, mp_stored *stored,
                         mp_error *err);
void mp_stored_close(mp_stored *stored);
/* Whether a dataset of this shape (of the dtype counts the size of an element alone) can be read without
 * harm: its numbers lie in the file itself, all of them, behind known filters, in chunks that are in keeping
 * with them. *chunk_entries: as in mp_stored. */
mp_status mp_stored_check(hid_t dataset, const mp_tensor *shape, int64_t *chunk_entries, mp_error *err);

/* Writing a case: its group with all that is known of it but the tensors, which the caller puts there; then
 * the root over those. end_case closes the group, and passes on the status that it is given: after an error
 * the golden cannot be committed any more. What begin_case refuses (MP_EINPUT: a case that is there already,
 * a text that could not be read again) leaves the golden as it was. Of the entry the root is made here, and
 * `who` need not be there: it is the golden's then. */
typedef struct mp_tensor_roots {
    mp_tensor_set there;
    uint64_t root[MP_TENSOR_COUNT];
} mp_tensor_roots;
mp_status mp_golden_begin_case(mp_golden *golden, const mp_golden_entry *entry, hid_t *group, mp_error *err);
mp_status mp_golden_end_case(mp_golden *golden, hid_t group, const mp_tensor_roots *roots, mp_status status,
                             mp_error *err);

/* The group of a case, negative with MP_EINPUT when there is none. */
hid_t mp_golden_open_case(mp_golden *golden, const char *name, mp_error *err);
/* The group `inputs` of a case; *inputs is negative, and that is no error, when they are not stored. */
mp_status mp_golden_open_inputs(hid_t group, hid_t *inputs, mp_error *err);
/* Calls visit (may be NULL) with all the bytes of a tensor stored in full, piece by piece: whole entries of
 * the first axis, or of rank 1 everything. */
typedef void mp_stored_visit(void *ctx, int64_t first_row, int64_t rows, const char *bytes);
mp_status mp_stored_read(const mp_stored *stored, mp_stored_visit *visit, void *ctx, mp_error *err);
/* A tensor stored in full; mp_tensor_free, after an error too. */
mp_status mp_stored_load(const mp_stored *stored, mp_tensor *t, mp_error *err);
/* The digests of a tensor stored as such, one a row; freed by the caller. */
mp_status mp_stored_digests(const mp_stored *stored, uint64_t **digests, mp_error *err);
/* The tree of a tensor stored as such; mp_tree_free. */
mp_status mp_stored_tree(const mp_stored *stored, mp_tree *tree, mp_error *err);
/* The rows that count for nothing in the tree of the tensor `name`, as bits; *left_out is NULL where none is
 * marked, and freed by the caller. `stored` is that tensor. */
mp_status mp_stored_left_out(hid_t group, const char *name, const mp_stored *stored, uint8_t **left_out,
                             mp_error *err);
/* Compares what is stored (or not) with t; fills all of diff, which starts zeroed, but the tensor's name.
 * When both sides are digests or trees, t has no data and `other` holds its digests; else other is NULL.
 * left_out: of the tree, where one of them is one. visit may be NULL. */
mp_status mp_stored_compare(const mp_stored *stored, const uint8_t *left_out, const mp_tensor *t,
                            const mp_stored *other, mp_golden_visit *visit, void *ctx,
                            mp_golden_difference *diff, mp_error *err);
/* Between mp_golden_create and the first case: the fill version of the cases that are copied into it. */
mp_status mp_golden_set_fill_version(mp_golden *golden, int version, mp_error *err);
/* 16 hexadecimal digits that may be absent. */
mp_status mp_read_hex(hid_t object, const char *name, bool *found, uint64_t *digest, mp_error *err);

/* How many differing rows a difference lists. */
#define MP_FIRST_ROWS ((int64_t)(sizeof(((mp_golden_difference *)NULL)->first_rows) / sizeof(int64_t)))

#endif
