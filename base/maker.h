/* SPDX-License-Identifier: Apache-2.0 */
/* What makes the numbers of a tensor when somebody asks for them (mp_tensor_make). */
#ifndef MP_BASE_MAKER_H
#define MP_BASE_MAKER_H

#include <stdbool.h>

typedef struct mp_maker mp_maker;
struct mp_maker {
    /* Of the matrices that are marked, [dim[0]], or of all where it is NULL, those that are not there yet. */
    void (*make)(mp_maker *self, const bool *matrices);
    void (*destroy)(mp_maker *self);         /* with the tensor's memory */
    bool (*unchanged)(const mp_maker *self); /* whether all that is there is as it was made */
    /* No number of these matrices has a larger magnitude. */
    double (*largest)(const mp_maker *self, const bool *matrices);
    bool integers, onehot; /* all its numbers are integers; no row has two that are not 0 */
};

#endif
