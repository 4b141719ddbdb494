/* SPDX-License-Identifier: Apache-2.0 */
/* The first run of a case while others are compared with it. Two whole traces would be the most that a large
 * case takes of the host's memory. So of a large one that was judged only digests of its rows stay, which say
 * whether another run has the same bits. Where one has not, the first run is recalled: run once more, for its
 * numbers. */
#ifndef MP_HARNESS_FIRST_RUN_H
#define MP_HARNESS_FIRST_RUN_H

#include "harness/checks/session.h"

/* Bytes of its outputs that digests will stand for; 0: it stays as it is. `options` or NULL: the usual. */
size_t mp_first_run_aside_bytes(const mp_run_options *options, const mp_case *c, int block_size_m);

/* Of a run whose numbers are on the host, and digests of its rows where they were: a few of them are made
 * again here. MP_EDEVICE where they are others, for all that is compared by digests would have been compared
 * with nothing. */
mp_status mp_first_run_check_digests(const mp_session *s, mp_error *err);
/* After the run was judged: makes the digests that are not there yet, and gives the numbers up. */
mp_status mp_first_run_put_aside(mp_session *s, mp_error *err);
/* Runs the case once more as the first time, and puts the numbers where those of the first run were. They are
 * these where the digests of rows agree, which mp_compare looks at. Nothing is recalled that is there, nor
 * where the memory does not do for two. */
mp_status mp_first_run_recall(mp_session *s, mp_error *err);

/* Digests of rows of a trace on the host, of those tensors that `other` has in digests alone. */
mp_status mp_rows_digest_like(const mp_trace *other, mp_trace *trace, mp_error *err);

#endif
