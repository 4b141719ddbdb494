/* SPDX-License-Identifier: Apache-2.0 */
/* Whole golden files: checked, compared, listed. */
#ifndef MP_GOLDEN_FILES_H
#define MP_GOLDEN_FILES_H

#include "moeparity/golden.h"

/* Compares the shape of every tensor with that of its case, then reads every number in the file, which is the
 * only way to see that one is damaged. MP_EINPUT with case and tensor. */
mp_status mp_golden_check(mp_golden *golden, mp_error *err);
/* The shape that a tensor of the case's trace must have; of rank 0 where a trace cannot hold it. */
mp_tensor mp_golden_planned(const mp_golden_entry *entry, mp_tensor_id id);
bool mp_same_shape(const mp_tensor *a, const mp_tensor *b);
#define MP_SHAPE_TEXT_MAX 96                                          /* "bf16[" and three sizes of 64 bits */
void mp_shape_text(const mp_tensor *t, char text[MP_SHAPE_TEXT_MAX]); /* "bf16[4,10]" */

/* After mp_golden_open: every case has a root, of files of before by mp_golden_check. */
mp_status mp_golden_complete_roots(mp_golden *golden, mp_error *err);

/* What is stored of a tensor of a case, without its numbers. */
typedef struct mp_golden_look {
    bool there, digest, has_root;
    mp_tensor shape;
    uint64_t root; /* golden/root.h */
} mp_golden_look;
/* input: of the inputs that are stored with the case; else of its trace. */
mp_status mp_golden_look_at(mp_golden *golden, const mp_golden_entry *entry, bool input, mp_tensor_id id,
                            mp_golden_look *look, mp_error *err);
/* Its numbers, of a tensor that is there in full; mp_tensor_free, after an error too. */
mp_status mp_golden_load(mp_golden *golden, const mp_golden_entry *entry, bool input, mp_tensor_id id,
                         mp_tensor *t, mp_error *err);
/* A tensor of a case beside one of another case, row by row, both there, in full or as digests: storing it
 * differently is no difference. `was` is a's. visit may be NULL. */
typedef struct mp_golden_side {
    mp_golden *golden;
    const mp_golden_entry *entry;
} mp_golden_side;
mp_status mp_golden_compare_stored(const mp_golden_side *a, const mp_golden_side *b, bool input,
                                   mp_tensor_id id, mp_golden_visit *visit, void *ctx,
                                   mp_golden_difference *diff, mp_error *err);
/* One line a case: name, tensors stored in full or as digests, bytes. */
mp_status mp_golden_list(mp_golden *golden, void (*report)(void *ctx, const char *line), void *ctx,
                         mp_error *err);

bool mp_same_provenance(const mp_provenance *a, const mp_provenance *b);

/* Copies a case of one golden into another that is being written, at its end: what is stored of its tensors,
 * and who recorded it; of a case that is copied back and forth not a byte changes. Row digests of tensors
 * that are larger than a tree's group become a tree. MP_EINPUT for one that is there already. */
mp_status mp_golden_copy_case(mp_golden *to, mp_golden *from, const mp_golden_entry *entry, mp_error *err);

/* What goldens that are put together say of themselves: every field in which all agree, else `several`; each
 * case keeps its own. */
#define MP_SEVERAL "several"
mp_provenance mp_common_provenance(const mp_provenance *const *who, size_t count);

/* Writes the cases of all files into one at `path`: in the order of the files, and in each in its own. A case
 * that several hold must be the same in all of them: it is taken from the first. Where roots differ
 * (golden/root.h) compare says whether it is all the same, and tells what is not; after one that is not
 * nothing is written, and the status is MP_OK. MP_EINPUT for files of different fill versions. The files have
 * been checked (mp_golden_check). */
typedef struct mp_golden_merge {
    mp_golden **from;
    size_t count;
    mp_status (*compare)(void *ctx, mp_golden *first, mp_golden *other, const char *name, bool *equal,
                         mp_error *err);
    void *ctx;
    size_t cases, shared, conflicts; /* of the result; those that several files hold; those that differ */
} mp_golden_merge;
mp_status mp_golden_merge_files(mp_golden_merge *merge, const char *path, mp_error *err);

/* The root of the file; false where it has none. */
bool mp_golden_root(const mp_golden *golden, uint64_t *root);
const char *mp_golden_path(const mp_golden *golden);
const char *mp_golden_library_version(void); /* "1.10.8" */

#endif
