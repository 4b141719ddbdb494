/* SPDX-License-Identifier: Apache-2.0 */
/* Golden traces in HDF5.
 *
 * File: attributes format="moeparity golden", format_version, fill_version, and provenance (version, commit,
 * subject, device, versions, date, origin). One group per case, named by its canonical text, with attributes
 * contract, config, block_size_m, and inputs_digest (mp_inputs_digest in 16 hexadecimal digits; not in the
 * first goldens); in it one dataset per trace tensor (chunked, shuffle+deflate, fletcher32; bf16 as a 16-bit
 * HDF5 float type so that h5dump and h5py read numbers), or, for a tensor above the size limit,
 * `<tensor>.digest`: uint64 [rows], XXH3 of each row, with attributes shape and dtype. Optional group
 * `inputs` with the input tensors.
 *
 * Files may come from strangers, and from other programs: contiguous datasets, integers of any size and cases
 * in no order are read as well; texts have a fixed length (numpy.bytes_ in h5py). What a file claims is
 * checked before anything is allocated by it; links, layouts that lead to other files, other filters, and
 * numbers that are not all there are refused.
 */
#ifndef MOEPARITY_GOLDEN_H
#define MOEPARITY_GOLDEN_H

#include "moeparity/inputs.h"
#include "moeparity/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_golden mp_golden; /* an open file */

typedef struct mp_provenance {
    char version[64], commit[64], subject[64], device[128], versions[256], date[32], origin[128];
} mp_provenance;

/* Builds the file in memory (as many bytes as the finished file has); mp_golden_commit replaces `path` by it
 * at once. After mp_golden_close without commit, or a failure, nothing is left and an old file is as it was.
 * Tensors of more than digest_above bytes are stored as digests (0: all as digests;
 * SIZE_MAX: all in full). */
mp_status mp_golden_create(const char *path, const mp_provenance *who, size_t digest_above,
                           mp_golden **golden, mp_error *err);
/* From here on the inputs of a case are stored in full, not only as their digest. */
void mp_golden_store_inputs(mp_golden *golden);
/* inputs: what the trace was made from; NULL: unknown, and neither digest nor tensors of them are stored. */
mp_status mp_golden_write(mp_golden *golden, const mp_case *c, const char *contract, const char *config,
                          const mp_trace *trace, const mp_inputs *inputs, mp_error *err);
mp_status mp_golden_commit(mp_golden *golden, mp_error *err); /* closes it, also on failure */

/* Opens for reading, and reads all but the tensors. MP_EINPUT, with file, case and attribute, for a missing,
 * truncated, corrupted or foreign file, one of a newer format, or one with an attribute missing or out of
 * range; never modifies it. */
mp_status mp_golden_open(const char *path, mp_golden **golden, mp_error *err);
void mp_golden_close(mp_golden *golden); /* takes NULL */
const mp_provenance *mp_golden_provenance(const mp_golden *golden);
int mp_golden_fill_version(const mp_golden *golden);
mp_status mp_golden_case_count(mp_golden *golden, size_t *count, mp_error *err);
mp_status mp_golden_case_name(mp_golden *golden, size_t index, char text[MP_CASE_TEXT_MAX], mp_error *err);
bool mp_golden_has(mp_golden *golden, const char *case_text);
/* The contract text stored with the case; MP_EINPUT where it needs more than size bytes, which it never does
 * of MP_GOLDEN_TEXT_MAX. */
#define MP_GOLDEN_TEXT_MAX 4096 /* of a contract or a configuration, with its NUL */
mp_status mp_golden_contract(mp_golden *golden, const mp_case *c, char *text, size_t size, mp_error *err);
/* BLOCK_SIZE_M of the stored case: what its align tensors and sorted layout were padded to. */
mp_status mp_golden_block_size_m(mp_golden *golden, const mp_case *c, int64_t *block_size_m, mp_error *err);

/* The digest of the inputs that the stored case was made from; *stored is false where the file has none. */
mp_status mp_golden_inputs_digest(mp_golden *golden, const mp_case *c, bool *stored, uint64_t *digest,
                                  mp_error *err);

/* Result of comparing one tensor with the stored one. */
typedef struct mp_golden_difference {
    char tensor[40];
    bool stored, digest, shape_differs; /* stored == false: the golden has no such tensor */
    int64_t rows, differing_rows;
    int64_t first_rows[8]; /* the first of them */
    int64_t differing;     /* elements (full tensors only) */
    double max_abs;        /* full tensors only; NaN-sticky */
    /* The first element that differs, where differing_rows > 0: its place, one index an axis, and both codes.
     * Of digests only the row is known: the last index is -1, and the codes are 0. */
    mp_dtype dtype;
    int rank;
    int64_t first_index[MP_MAX_RANK];
    uint64_t first_was, first_is;
    char first[256]; /* the same as text, or both shapes where they differ; "" for digests */
} mp_golden_difference;
#define MP_GOLDEN_DIFFERENCE_TEXT_MAX 512 /* more than any text below */
/* `out: 12 of 32 rows differ (0,3,4,7,8,11,12,15,...)`, or the tensor and both shapes, or that it is not
 * stored; of digests also that they are digests, and how to see elements. The first element, which `first`
 * describes, is left to the caller. Returns the length written, less than size: texts can be put one behind
 * the other. In MP_GOLDEN_DIFFERENCE_TEXT_MAX bytes nothing is cut; in fewer, it is cut between words, and
 * ends in
 * "...". */
size_t mp_golden_difference_text(const mp_golden_difference *d, char *text, size_t size);

/* Compares a trace with the stored case, tensor by tensor. diff has MP_TENSOR_COUNT entries, *count is how
 * many are filled: one for each tensor that the trace exposes. MP_EINPUT when the case is not in the file, or
 * damaged. */
mp_status mp_golden_compare(mp_golden *golden, const mp_case *c, const mp_trace *trace,
                            mp_golden_difference *diff, int *count, mp_error *err);

#ifdef __cplusplus
}
#endif

#endif
