/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: numbers and how far the subject's may be from them, and the memory that they lie
 * in. What the radii are is told in judge_span.c. */
#ifndef MP_HARNESS_BALLS_H
#define MP_HARNESS_BALLS_H

#include "moeparity/tensor.h"
#include "ref/ball.h"

/* Buffers of float64 that slabs use one after the other: what one has given back the next one takes, so that
 * the pages are touched once. All zeros is an empty pool. */
enum { MP_POOL_BUFFERS = 32 };
typedef struct mp_ball_pool {
    struct {
        void *data;
        size_t bytes;
        bool taken;
    } buffer[MP_POOL_BUFFERS];
    int count;
} mp_ball_pool;

/* A buffer of at least so many numbers, which hold anything; to be given back. MP_EMEMORY. */
mp_status mp_ball_pool_take(mp_ball_pool *pool, int64_t numbers, double **data, mp_error *err);
void mp_ball_pool_give(mp_ball_pool *pool, const double *data); /* takes NULL */
void mp_ball_pool_free(mp_ball_pool *pool);

/* Which radii there are. */
typedef enum mp_ball_radii { MP_RADII_NONE, MP_RADII_SURE_AND_DET, MP_RADII_ALL } mp_ball_radii;

/* A tensor of balls, float64, [rows, width]. Radii that are not there have no data; with none, all are zero:
 * the values are exact. */
typedef struct mp_balls {
    mp_tensor value, sure, det, random;
    int64_t rows, width;
    bool exact;
} mp_balls;

/* They hold anything; to be dropped by the caller, after an error too. MP_EMEMORY. */
mp_status mp_balls_take(mp_ball_pool *pool, mp_balls *b, int64_t rows, int64_t width, mp_ball_radii radii,
                        mp_error *err);
void mp_balls_drop(mp_ball_pool *pool, mp_balls *b); /* takes those that are all zeros */

static inline double *mp_ball_at(const mp_tensor *t, int64_t i) {
    return (double *)t->data + i;
}

/* Zeros, exactly. */
void mp_balls_zero_row(const mp_balls *b, int64_t row);
void mp_balls_zero_radii(const mp_balls *b, int64_t row);

static inline mp_ball mp_ball_get(const mp_balls *b, int64_t i) {
    if (b->exact) return (mp_ball){.value = *mp_ball_at(&b->value, i)};
    return (mp_ball){*mp_ball_at(&b->value, i), *mp_ball_at(&b->sure, i), *mp_ball_at(&b->det, i),
                     b->random.data ? *mp_ball_at(&b->random, i) : 0};
}

static inline void mp_ball_put(const mp_balls *b, int64_t i, mp_ball ball) {
    *mp_ball_at(&b->value, i) = ball.value;
    *mp_ball_at(&b->sure, i) = ball.sure;
    *mp_ball_at(&b->det, i) = ball.det;
    if (b->random.data) *mp_ball_at(&b->random, i) = ball.random;
}

#endif
