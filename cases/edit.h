/* SPDX-License-Identifier: Apache-2.0 */
/* Edits of inputs: what is written over the numbers of a case once its families have filled them, in the
 * notation of numpy.
 *
 *   x[:,64:]=0          columns 64 and on of all tokens
 *   w1[3,::2]*=0.5      every second row of expert 3's w1, halved; `x=*0.5` is the same
 *   x[-1,0]=nan; topk_ids[5]=-1
 *
 * An edit is the name of an input, indices in brackets (whole numbers, start:stop:step with steps from 1,
 * `...`; as many as the tensor has axes, or fewer; none: all of it), and `=` or `*=` with a number, nan, inf
 * or -inf. Negative indices count from the end, slices are cut at the ends of an axis, and an index that is
 * not there is an error, as in numpy. Several are separated by `;`, and take place in order.
 *
 * A value is rounded once to the tensor's format, a product is that of float64. topk_ids take the numbers of
 * this rank's experts and -1, and must leave no token with one expert twice where the case's routing gives
 * none. What follows from an edit follows: the ids as a subject gets them (cases/numbering.h), and rows of
 * cache3 whose slot is filtered, which are zeros. */
#ifndef MP_CASES_EDIT_H
#define MP_CASES_EDIT_H

#include "moeparity/inputs.h"

enum { MP_EDITS_MAX = 1 << 16 }; /* bytes of a text of edits */

/* Whether `edits` can be read: MP_EINPUT names the edit and what was expected. */
mp_status mp_edits_check(const char *edits, mp_error *err);
/* Whether the case has these inputs and these indices, takes these values, and has legal ids then. Its
 * topk_ids are made for that, if they are edited, and nothing else. */
mp_status mp_edits_check_case(const char *edits, const mp_case *c, mp_error *err);
/* Edits the case's own inputs, none of which that are named may be borrowed. edits: NULL for none. The errors
 * of both above; *in is then changed in part. */
mp_status mp_inputs_edit(const mp_case *c, const char *edits, mp_inputs *in, mp_error *err);
/* Calls `visit` for each edit, with its own text and how many elements of the case's tensor it changes. */
mp_status mp_edits_each(const char *edits, const mp_case *c,
                        void (*visit)(void *ctx, const char *text, int64_t elements), void *ctx,
                        mp_error *err);

#endif
