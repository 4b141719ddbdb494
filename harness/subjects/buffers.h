/* SPDX-License-Identifier: Apache-2.0 */
/* The buffers of runs, step by step: opened in the subject's space between guard zones and full of poison,
 * loaded with a case's inputs, run in, looked at, read. The same buffers take one case after the other, each
 * as the one before left them; several sets may be open at once. */
#ifndef MP_HARNESS_BUFFERS_H
#define MP_HARNESS_BUFFERS_H

#include "harness/subjects/surroundings.h"

typedef struct mp_buffers mp_buffers;

/* Which tensors the buffers are for, and the bytes of each; zeroed, then raised to what each case needs. */
typedef struct mp_buffer_sizes {
    mp_tensor_set tensors, given; /* all; those that mp_inputs has */
    mp_tensor_set placed;         /* those with gaps, or behind a boundary: they need a buffer of their own */
    size_t tensor[MP_TENSOR_COUNT], workspace[MP_WORKSPACES];
} mp_buffer_sizes;
void mp_buffer_sizes_add(const mp_case *c, const mp_offer *offer, mp_buffer_sizes *sizes);

typedef enum mp_buffers_use {
    MP_BUFFERS_KEPT, /* for many runs: all addresses stay. On the host whole tensors (weights, biases) are
                        handed over where they lie, and nothing else is */
    MP_BUFFERS_ONCE, /* for one run. On the host inputs are handed over where they lie, and collecting gives
                        the buffers of the outputs away: nothing is copied */
} mp_buffers_use;

/* *buffers is NULL after an error; to be closed otherwise. The subject stays open for as long. */
mp_status mp_buffers_open(const mp_subject *subject, const mp_buffer_sizes *sizes, mp_buffers_use use,
                          uint32_t poison, mp_buffers **buffers, mp_error *err);
/* From now on the buffers are those of this case: tensors have its shapes, its inputs are written over what
 * was there, outputs and workspaces hold what they held. In place, the buffer of the output gets x. *c is
 * read until the next load, *in too where memory is handed over as it is; *offer is copied. What inputs have
 * borrowed, and the load before had from the same place, is not written again. May be called as often as
 * wanted, also between a run and its repetition by other means (a captured graph). */
mp_status mp_buffers_load(mp_buffers *buffers, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                          mp_error *err);
/* What the subject's run is given; times and `left` begin anew. The tensors are the subject's own to change
 * (what it writes into the structs reaches nobody), and valid until the next call of it or the closing. */
mp_execution mp_buffers_execution(mp_buffers *buffers);
/* What the runs since the last load did around their outputs. Guard zones lie around whole buffers: a case
 * smaller than its buffer has none right behind its tensors. */
mp_status mp_buffers_look(const mp_buffers *buffers, mp_surroundings_report *report, mp_error *err);
/* The outputs that the run has left (mp_execution.left), on the host, with the stages' times. The trace is
 * the caller's to destroy, after an error too. */
mp_status mp_buffers_collect(mp_buffers *buffers, mp_trace *trace, mp_error *err);
/* Looks, and collects where comparing is all that is asked for: of large tensors with a row a slot or token
 * the digests of rows alone, where the space can make them, and no data; all else as above. */
mp_status mp_buffers_mark(mp_buffers *buffers, mp_surroundings_report *report, mp_trace *trace,
                          mp_error *err);
/* The data that it has left where they are, before anything else happens to the buffers. */
mp_status mp_buffers_fetch(mp_buffers *buffers, mp_trace *trace, mp_error *err);
void mp_buffers_close(mp_buffers *buffers); /* takes NULL */

#endif
