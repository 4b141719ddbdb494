/* SPDX-License-Identifier: Apache-2.0 */
/* One case from inputs to verdict: runs the subject under every check. */
#ifndef MOEPARITY_RUN_CASE_H
#define MOEPARITY_RUN_CASE_H

#include "moeparity/golden.h"
#include "moeparity/matrix.h"
#include "moeparity/settings.h"
#include "moeparity/subject.h"
#include "moeparity/verdict.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_run_options {
    mp_settings settings; /* of `golden` the path, for the repro; the names are those of the subjects below */
    mp_subject *subject;  /* NULL where all rows are judged from files */
    mp_subject *against;  /* NULL: none */
    mp_golden *golden;    /* NULL: none */
    /* What computes the reference on a GPU; NULL: the CPU does. It is the library's own. */
    struct mp_offload *offload;
    struct mp_kept_weights
        *weights; /* of the case before, for the next; the harness's. NULL: none are kept */
    /* Called with the run that was judged, if the case passes: what a recording stores. NULL: nobody. */
    void (*keep)(void *ctx, const mp_offer *offer, const mp_inputs *in, const mp_trace *trace);
    void *keep_ctx;
    /* Of a first run with more bytes of outputs digests of rows are all that stays beside further runs, but
     * where `keep` wants it whole. 0: 64 MiB. */
    size_t outputs_kept_bytes;
    /* What ran before in the same process, in order, for the repro. */
    const mp_matrix_row *const *before;
    size_t before_count;
} mp_run_options;

/* Never fails: whatever goes wrong becomes the verdict, which is initialised here (what it held is not freed)
 * and freed by the caller. In order: memory plan (too big: SKIP), inputs, run with poison A, guards, inputs
 * unchanged, f64 and bits oracles, the golden; run with poison B and further repeats, bit equality; pairs;
 * behind other cases on the same buffers; permuted tokens and other batches of them (where the contract
 * promises batch invariance); replayed from a graph, and beside another run; the other subject. Of a row with
 * a file that is read, and judged by both oracles alone. */
void mp_run_case(const mp_matrix_row *row, const mp_run_options *options, mp_verdict *v);

#ifdef __cplusplus
}
#endif

#endif
