/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of the case before: rows of a matrix that share them follow each other, and they are filled once.
 */
#ifndef MP_HARNESS_KEPT_WEIGHTS_H
#define MP_HARNESS_KEPT_WEIGHTS_H

#include "moeparity/inputs.h"

/* Zeroed at first. */
typedef struct mp_kept_weights {
    mp_case c;
    mp_inputs in; /* whole tensors alone; no data: nothing is kept */
    bool there;
} mp_kept_weights;

/* Gives up what the case cannot use; the bytes of the rest, but for what is made when somebody asks for it.
 * `kept` may be NULL. */
size_t mp_kept_for(mp_kept_weights *kept, const mp_case *c);
/* mp_inputs_create, or, `deferring`, with weights that are large made when somebody asks for them; with what
 * is kept. It must stay for as long as *in. */
mp_status mp_kept_inputs(mp_kept_weights *kept, const mp_case *c, bool deferring, mp_inputs *in,
                         mp_error *err);
/* Takes the whole tensors of inputs that are as they were filled out of *in, and keeps them; or, if they are
 * not, gives up what was borrowed. */
void mp_kept_take(mp_kept_weights *kept, const mp_case *c, bool unchanged, mp_inputs *in);
void mp_kept_free(mp_kept_weights *kept);

#endif
