/* SPDX-License-Identifier: Apache-2.0 */
/* Inside harness/: one case being judged, and the checks that run the subject again. */
#ifndef MP_HARNESS_SESSION_H
#define MP_HARNESS_SESSION_H

#include "harness/checks/compare.h"
#include "harness/subjects/surroundings.h"
#include "moeparity/run_case.h"
#include "offload/offload.h"

/* How often the case itself is run. */
static inline int mp_repeats(const mp_settings *settings) {
    return settings->repeat > 0 ? settings->repeat : MP_REPEAT;
}

typedef struct mp_session {
    const mp_matrix_row *row;
    const mp_run_options *options;
    const mp_inputs *in; /* sealed: runs that are handed them are followed by a look at whether they are what
                            they were; of a case on a device that is asked once, at its end */
    mp_offer offer;      /* of the subject for row->c */
    bool deterministic, batch_invariant; /* every stage of the case promises it */
    mp_trace first; /* the run with poison A: the one that is judged, and then of a large one its digests */
    const mp_engine *engine;
    mp_offload *offload; /* whose engine it is, or NULL */
    int64_t repeated;    /* elements in which all runs of the case had the bits of the first, by both poisons;
                            0: one run, or not all of them repeated */
    bool tile_refused;   /* a tile that the case or a tuned file names could not be launched */
    mp_verdict *v;
    /* The last other case or subject that was described: several runs of one ask once. */
    mp_subject *described;
    mp_case described_case;
    mp_offer described_offer;
} mp_session;

/* What the subject offers for a case: under the contract that the settings name, if it is the one that is
 * judged and they name one, else under its own. */
mp_status mp_session_describe(const mp_session *s, mp_subject *subject, const mp_case *c, mp_offer *offer,
                              mp_error *err);
/* What the subject says of a case: asked once for the case itself, and once for each other one that is run.
 * *offer is valid until another one is asked for. */
mp_status mp_session_offer(mp_session *s, mp_subject *subject, const mp_case *c, const mp_offer **offer,
                           mp_error *err);

/* From how many bytes on inputs of another case are made where its subject reads them; SIZE_MAX: never. */
size_t mp_session_defers_from(const mp_session *s);

/* Runs the subject, and looks at everything around the run: guards, inputs, rows that must not be written,
 * align's integers. `what` names the run in a failure ("" for the first). What it has left is the caller's to
 * destroy, after an error too, and before the next run. */
mp_status mp_session_run(mp_session *s, const char *what, mp_subject *subject, const mp_case *c,
                         const mp_inputs *in, uint32_t poison, mp_left *left, mp_error *err);

/* mp_compare with what a run has left, side b: by the digests of rows where they are enough, else all of it
 * comes to the host, and the first run is recalled if it is side a. b->trace is that of `left`. */
mp_status mp_session_compare(mp_session *s, const mp_side *a, const mp_side *b, mp_left *left, int64_t tokens,
                             const int32_t *ids, bool align, mp_comparison *found, mp_error *err);

/* A run that is judged beside the first one, and what its buffers held before. */
typedef struct mp_other_run {
    const mp_case *c;
    const mp_offer *offer;
    const mp_inputs *in;
    const mp_trace *trace;
    uint32_t poison;
} mp_other_run;

/* mp_judge of a run, into v. A judge on the device is lent the inputs that lie there, until it rests. What
 * fails by sums of the device must fail by those of the CPU too: where it does not, the judge is wrong and
 * not the subject, v is as before, and MP_EDEVICE says what it was. */
mp_status mp_session_judge_float64(const mp_session *s, const mp_other_run *run, mp_verdict *v,
                                   mp_error *err);

typedef enum mp_judged_part {
    MP_JUDGE_ALL,   /* all that float64 says of it */
    MP_JUDGE_ALIGN, /* align's integers, where they are exposed */
} mp_judged_part;

/* Judges a run by itself. What fails there fails `check`, with the name of what failed, or the same check
 * where that is MP_CHECK_COUNT; `what` names the run in the text. *judged (or NULL) grows by what was looked
 * at: elements of stages, and one where align was. Errors are the harness's own. */
mp_status mp_session_judge(mp_session *s, const mp_other_run *run, mp_judged_part part, mp_check check,
                           const char *what, int64_t *judged, mp_error *err);

/* mp_begins where the output of a stage has other bits: of stages whose outputs the subject does not show it
 * may be any of them. */
void mp_session_begins(mp_session *s, mp_stage stage, const char *pattern);
/* Fails `check` where a comparison found that `what` gave other bits, and says where that begins. */
void mp_session_expect_equal(mp_session *s, mp_check check, const char *what, const mp_comparison *found);

/* check_repeats.c: a further run of the case against the first, in what the contract promises to repeat. */
mp_status mp_compare_repeated(mp_session *s, mp_left *again, mp_comparison *found, mp_error *err);

/* The name of the final output, where the first run shows it and this one does not: equal bits of what lies
 * before it say nothing of it. NULL: it is there. */
const char *mp_session_hidden_result(const mp_session *s, const mp_trace *trace);

/* Whether the tensors of align of `trace`, of a case that has the same slots, can be compared bit for bit
 * with those of the first run: the order is promised, and both sides padded to the same blocks and chunks. */
bool mp_session_same_align(const mp_session *s, const mp_case *c, const mp_trace *trace);

/* The checks. A variant or selection that cannot run here (MP_EUNSUPPORTED) is not judged, and says why;
 * every other error ends the case. */
/* check_repeats.c */
mp_status mp_check_repeats(mp_session *s, mp_error *err);
/* check_pairs.c */
mp_status mp_check_pairs(mp_session *s, mp_error *err);
mp_status mp_check_against(mp_session *s, mp_error *err);
/* The same, instead of a prediction: each stage has the figures of its bits from it, and its picture the
 * steps; what begins in which stage is where the two subjects part. */
mp_status mp_compare_stages(mp_session *s, mp_error *err);
/* check_invariance.c: permutation and batch */
mp_status mp_check_invariance(mp_session *s, mp_error *err);
/* The tokens of the batches that it runs of a case, each once; how many, 0 where it runs none. */
enum { MP_BATCH_SIZES = 6 };
int mp_batch_sizes(const mp_case *c, int64_t sizes[MP_BATCH_SIZES]);
/* check_sequence.c */
mp_status mp_check_sequence(mp_session *s, mp_error *err);
/* check_ranks.c */
mp_status mp_check_ranks(mp_session *s, mp_error *err);
/* check_streams.c: a run that is replayed from a graph, and two runs at once */
mp_status mp_check_streams(mp_session *s, mp_error *err);
/* check_golden.c */
mp_status mp_check_golden(mp_session *s, mp_error *err);

#endif
