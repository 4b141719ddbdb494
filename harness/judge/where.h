/* SPDX-License-Identifier: Apache-2.0 */
/* Where two tensors differ: the one description that bits, goldens, pairs, other subjects, repeats and bounds
 * share.
 *
 * Elements are told in pipeline order: stage, token, slot, expert, column, tile; both values with their bits;
 * how many differ, by how much; and what they have in common, for that names the kernel's mistake: all of one
 * expert, a range of columns, one row block of the sorted order, one slot of every token, every row. */
#ifndef MP_HARNESS_WHERE_H
#define MP_HARNESS_WHERE_H

#include "moeparity/config.h"
#include "moeparity/graph.h"
#include "moeparity/picture.h"

/* What the rows of a tensor are. tile and sorted ids may be absent (NULL): tiles are then not told. */
typedef struct mp_where {
    const mp_case *c;
    mp_stage first, stage; /* of the span that the tensor ends; equal: the stage alone */
    bool input;            /* the tensor is what the stage reads: a hook wrote it */
    const char *tensor;
    mp_dtype dtype;
    int64_t rows, width;         /* slots or tokens, by the stage; of align's tensors chunks; columns */
    const int32_t *topk_ids;     /* [slots] */
    const mp_tensor *sorted_ids; /* sorted_token_ids [chunks, P] */
    const mp_tile *tile;         /* of the GEMM; NULL: not a GEMM */
} mp_where;

/* Of the output of `stage` in a run with these tensors and tiles. */
mp_where mp_where_of(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], const mp_config *config,
                     mp_stage first, mp_stage stage);
/* Of any tensor of a trace: told by the stage that writes it, or by the one that reads what a hook wrote. */
mp_where mp_where_of_tensor(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT], const mp_config *config,
                            mp_tensor_id id);

/* The stage that a tensor is told with: as in mp_where_of_tensor. */
mp_stage mp_where_stage_of(const mp_case *c, mp_tensor_id id);
bool mp_where_rows_are_slots(const mp_where *where); /* not tokens, nor chunks of align's */

/* The stage whose rows the tensor has: what a hook wrote has those of the stage before it. */
mp_stage mp_where_writer(const mp_where *where);

/* The row block of every slot in the sorted order, counted over all chunks, -1 of one that is in none: with
 * a slot's column div BLOCK_SIZE_N its tile. *blocks is how many there can be. False where tiles are not
 * known, or the rows are no slots. block has a place for each slot. */
bool mp_where_blocks(const mp_where *where, int64_t *block, int64_t *blocks);

/* Which rows and columns are concerned. rows marks them; the rest are counts. Starts with mp_pattern_start.
 */
typedef struct mp_pattern {
    unsigned char *rows;
    int64_t count, low_column, high_column; /* elements; first and last column */
} mp_pattern;
mp_status mp_pattern_start(mp_pattern *pattern, int64_t rows, mp_error *err);
/* For threads that share a pattern, too. column -1: not known. */
void mp_pattern_add(mp_pattern *pattern, int64_t row, int64_t column);
void mp_pattern_free(mp_pattern *pattern);

enum { MP_WHERE_TEXT_MAX = 256 };
/* "gate_up: token 5 slot 1 column 64, expert 3, tile 2 x 1", "align: sorted_token_ids[7] of chunk 0"; column
 * -1: without column and tile. */
void mp_place_text(const mp_where *where, int64_t row, int64_t column, char text[MP_WHERE_TEXT_MAX]);
/* "expert 3 only, 7 of its 7 rows, columns 64..127" */
void mp_pattern_text(const mp_where *where, const mp_pattern *pattern, char text[MP_WHERE_TEXT_MAX]);

/* Distance of two codes in steps of the format; INT64_MAX where NaN is on one side. */
int64_t mp_ulps_between(mp_dtype dtype, uint64_t a, uint64_t b);

/* A comparison, row by row. Starts with mp_difference_start, is told by mp_difference_text. */
typedef struct mp_difference {
    const mp_where *where;
    mp_pattern pattern;
    int64_t compared, differing, max_ulps;
    double max_abs; /* NaN-sticky */
    int64_t first_row, first_column;
    mp_dtype dtype;
    uint64_t first_got, first_expected; /* codes */
    bool any_zero;                      /* set by the caller: +0 and -0 are one number */
    mp_picture *picture;                /* set by the caller: where the distances are marked; NULL: nowhere */
} mp_difference;
mp_status mp_difference_start(mp_difference *d, const mp_where *where, mp_error *err);
/* Row `row` of the comparison lies at row got_row of got and expected_row of expected. */
void mp_difference_row(mp_difference *d, int64_t row, const mp_tensor *got, int64_t got_row,
                       const mp_tensor *expected, int64_t expected_row);
/* One element of the comparison, for who reads the rows itself; got and expected are codes. column -1: an
 * element of the row, nobody knows which, and no codes. */
void mp_difference_element(mp_difference *d, int64_t row, int64_t column, uint64_t got, uint64_t expected);
/* Place, both values, counts and pattern of the first difference, without an end to the line. */
enum { MP_DIFFERENCE_TEXT_MAX = 768 };
void mp_difference_text(const mp_difference *d, char text[MP_DIFFERENCE_TEXT_MAX]);
void mp_difference_end(mp_difference *d);

#endif
