/* SPDX-License-Identifier: Apache-2.0 */
/* What makes the numbers of a tensor when somebody asks for them (mp_tensor_make). */
#ifndef MP_BASE_MAKER_H
#define MP_BASE_MAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mp_maker mp_maker;
struct mp_maker {
    const char *data;  /* of all of it, of which a tensor may be a window */
    int64_t unit_rows; /* are made at once: of weights a matrix, of activations some rows */
    int64_t units;     /* the last one may be short */
    /* Of the units that are marked, or of all where it is NULL, those that are not there yet. */
    void (*make)(mp_maker *self, const bool *units);
    void (*destroy)(mp_maker *self);         /* with the tensor's memory */
    bool (*unchanged)(const mp_maker *self); /* whether all that is there is as it was made */
    /* No number of these matrices, [dim[0]], or of all, has a larger magnitude. */
    double (*largest)(const mp_maker *self, const bool *matrices);
    bool integers, onehot; /* all its numbers are integers; no row has two that are not 0 */
};

#endif
