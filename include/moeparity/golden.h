/* SPDX-License-Identifier: Apache-2.0 */
/* Golden traces in HDF5.
 *
 * File: attributes format="moeparity golden", format_version, fill_version, and provenance (version, commit,
 * subject, device, versions, date, origin). One group per case, named by its canonical text, with attributes
 * contract (its text, for people), contract_digest (mp_contract_digest, its identity), config, block_size_m
 * and inputs_digest (mp_inputs_digest); the digests have 16 hexadecimal digits, and the first goldens have
 * none. In it one dataset per trace tensor (chunked, shuffle+deflate, fletcher32; bf16 as a 16-bit HDF5 float
 * type so that h5dump and h5py read numbers), or, for a tensor above the size limit, `<tensor>.digest`:
 * uint64 [rows], XXH3 of each row, with attributes shape and dtype; of more than 512 rows `<tensor>.tree`:
 * uint64 [groups, words], weighted sums of the digests of each group of rows, from which the rows that differ
 * can be told (docs/goldens.md), with the attribute group_rows as well. `<tensor>.left_out` (uint8, a bit a
 * row) marks rows that hold no result, where such a tensor has any. Datasets, groups and the file have the
 * attribute root, one digest over what is below it. Optional group `inputs` with the input tensors. A case
 * that others recorded than the file's attributes say has provenance attributes of its own.
 *
 * Files may come from strangers, and from other programs: contiguous datasets, integers of any size and cases
 * in no order are read as well; texts have a fixed length (numpy.bytes_ in h5py). What a file claims is
 * checked before anything is allocated by it; links, layouts that lead to other files, other filters, and
 * numbers that are not all there are refused.
 */
#ifndef MOEPARITY_GOLDEN_H
#define MOEPARITY_GOLDEN_H

#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_golden mp_golden; /* an open file */

typedef struct mp_provenance {
    char version[64], commit[64], subject[512], device[128], versions[512], date[32], origin[128];
} mp_provenance;

/* Builds the file in memory (as many bytes as the finished file has); mp_golden_commit replaces `path` by it
 * at once. After mp_golden_close without commit, or a failure, nothing is left and an old file is as it was.
 * Tensors of more than digest_above bytes are stored as digests (0: all as digests;
 * SIZE_MAX: all in full). */
mp_status mp_golden_create(const char *path, const mp_provenance *who, size_t digest_above,
                           mp_golden **golden, mp_error *err);
/* From here on the inputs of a case are stored in full, not only as their digest. */
void mp_golden_store_inputs(mp_golden *golden);
/* config: its tiles, for people; UTF-8 without control characters, at most 4095 bytes: else MP_EINPUT, and so
 * for a case that is there already; the golden is then as it was.
 * inputs: what the trace was made from; NULL: unknown, and neither digest nor tensors of them are stored. */
mp_status mp_golden_write(mp_golden *golden, const mp_case *c, const mp_contract *contract,
                          const char *config, const mp_trace *trace, const mp_inputs *inputs, mp_error *err);
mp_status mp_golden_commit(mp_golden *golden, mp_error *err); /* closes it, also on failure */

/* Opens for reading, and reads all but the tensors. MP_EINPUT, with file, case and attribute, for a missing,
 * truncated, corrupted or foreign file, one of a newer format, or one with an attribute missing or out of
 * range; never modifies it. */
mp_status mp_golden_open(const char *path, mp_golden **golden, mp_error *err);
void mp_golden_close(mp_golden *golden); /* takes NULL */
const mp_provenance *mp_golden_provenance(const mp_golden *golden);
int mp_golden_fill_version(const mp_golden *golden);
/* What is stored with a case beside its tensors. All of it belongs to the golden. */
typedef struct mp_golden_entry {
    char *name; /* canonical text of the case */
    mp_case c;
    char *contract, *config; /* texts for people, UTF-8 without control characters */
    int block_size_m;        /* what its align tensors and sorted layout were padded to */
    bool has_contract_digest, has_inputs_digest, has_root; /* the first goldens have none */
    uint64_t contract_digest, inputs_digest, root;
    const mp_provenance *who; /* recorded it: the file's, or that of a case merged into it */
} mp_golden_entry;
size_t mp_golden_count(const mp_golden *golden);
/* In the order in which they were recorded; NULL for what is no index. */
const mp_golden_entry *mp_golden_at(const mp_golden *golden, size_t index);
/* NULL: the golden does not hold the case. */
const mp_golden_entry *mp_golden_find(const mp_golden *golden, const char *case_text);
/* Whether the case was recorded under this arithmetic. Where no digest is stored, the texts decide. */
bool mp_golden_same_contract(const mp_golden_entry *entry, const mp_contract *contract);

/* The tensors of the trace that are stored with a case, in full or as digests. MP_EINPUT when the case is not
 * in the file, or damaged. */
mp_status mp_golden_tensors(mp_golden *golden, const char *case_text, mp_tensor_set *tensors, mp_error *err);

/* The rows that a tensor's root and sums of digests leave out, for they hold no result, as the file says it:
 * row r by bit r mod 8 of byte r div 8; NULL: none. The caller frees *left_out. MP_EINPUT as above. */
mp_status mp_golden_left_out(mp_golden *golden, const char *case_text, mp_tensor_id id, uint8_t **left_out,
                             mp_error *err);

/* Result of comparing one tensor with the stored one. */
typedef struct mp_golden_difference {
    char tensor[40];
    bool stored, digest, shape_differs; /* stored == false: the golden has no such tensor */
    int64_t rows, differing_rows;
    int64_t first_rows[8]; /* the first of them */
    /* Of a tensor stored as a tree: groups in which more rows differ than can be told, which differing_rows
     * does not count; first and last row of the first one, and the number that it is more than. */
    int64_t crowded_groups, crowded_first, crowded_last;
    int crowded_more_than;
    int64_t differing; /* elements (full tensors only) */
    double max_abs;    /* full tensors only; NaN-sticky */
    /* The first element that differs, where differing_rows > 0: its place, one index an axis, and both codes.
     * Of digests only the row is known: the last index is -1, and the codes are 0. */
    mp_dtype dtype;
    int rank;
    int64_t first_index[MP_MAX_RANK];
    uint64_t first_was, first_is;
    char first[256]; /* the same as text, or both shapes where they differ; "" for digests */
} mp_golden_difference;
/* How digests say that they are digests. */
#define MP_GOLDEN_IS_DIGEST "(stored as digests of rows: record with a larger --digest-above to see elements)"
/* `out: 12 of 32 rows differ (rows 0,3,4,7,8,11,12,15,...)`, or the tensor and both shapes, or that it is not
 * stored; of digests also that they are digests, and how to see elements. The first element, which `first`
 * describes, is left to the caller. */
enum { MP_GOLDEN_DIFFERENCE_TEXT_MAX = 768, MP_GOLDEN_CROWDED_TEXT_MAX = 192 };
void mp_golden_difference_text(const mp_golden_difference *d, char text[MP_GOLDEN_DIFFERENCE_TEXT_MAX]);
/* `more than 4 of rows 512..1023 and of 2 further groups like it`; "" where there is none. */
void mp_golden_crowded_text(const mp_golden_difference *d, char text[MP_GOLDEN_CROWDED_TEXT_MAX]);

/* Called for each element that differs, in the order of the tensor, with both codes; of a tensor stored as
 * digests for each row, with column -1 and no codes. */
typedef void mp_golden_visit(void *ctx, int64_t row, int64_t column, uint64_t was, uint64_t is);
/* Compares a tensor of a trace with the stored one; visit may be NULL. MP_EINPUT when the case is not in the
 * file, or damaged. */
mp_status mp_golden_compare(mp_golden *golden, const char *case_text, mp_tensor_id id, const mp_tensor *t,
                            mp_golden_visit *visit, void *ctx, mp_golden_difference *diff, mp_error *err);

#ifdef __cplusplus
}
#endif

#endif
