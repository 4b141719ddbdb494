/* SPDX-License-Identifier: Apache-2.0 */
/* A trace made elsewhere: inputs and any of the tensors that stages leave, out of one file. */
#ifndef MP_FILES_TRACE_FILE_H
#define MP_FILES_TRACE_FILE_H

#include "files/container.h"
#include "moeparity/inputs.h"
#include "moeparity/trace.h"

typedef struct mp_trace_file {
    mp_container container;
    mp_case c; /* data=file, routing, filter and seed as usual: they say nothing of what is in a file */
    mp_tensor_set holds; /* inputs and outputs of the case that the file holds */
    int block_size_m;
    bool has_map; /* expert_map is there: topk_ids count the experts of all ranks */
    char passed_over[2 * MP_PASSED_OVER_MAX]; /* names of what the case has no tensor for; "" */
} mp_trace_file;

/* Opens a file, and finds out of which case it is: the fields that case_text gives (NULL: the text in the
 * file, if it has one), the others by the shapes:
 *
 *   dtype              of x, weights, caches and out, which must agree
 *   M, topk, E, K, N   by every tensor that tells one; rows of caches are M*topk
 *   gated, bias, mode  where they are not given: w1 with 2N rows; b1 or b2 is there; out with three axes
 *
 * With expert_map, and in a case with a sentinel, the file's topk_ids become those of this rank's experts as
 * they are read, and the case has no expert_map.
 * MP_EINPUT where two say different things, with both, or where nothing is there to be judged. Shapes may
 * leave out or merge axes, [M*topk,K] for [M,topk,K], as long as the last one is the same. Close it after
 * MP_OK. */
mp_status mp_trace_file_open(const char *path, const char *case_text, mp_trace_file *f, mp_error *err);
/* Reads all tensors: the inputs into *in, the others into *trace, which are the caller's to destroy, after an
 * error too. Router weights of a shorter format become fp32, exactly. MP_EINPUT: an id that is no expert, a
 * weight that is not finite. */
mp_status mp_trace_file_load(const mp_trace_file *f, mp_inputs *in, mp_trace *trace, mp_error *err);
void mp_trace_file_close(mp_trace_file *f);

#endif
