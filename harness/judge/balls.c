/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/balls.h"

#include <stdlib.h>
#include <string.h>

mp_status mp_ball_pool_take(mp_ball_pool *pool, int64_t numbers, double **data, mp_error *err) {
    const size_t bytes = (size_t)(numbers > 0 ? numbers : 1) * sizeof **data;
    int best = -1;
    *data = NULL;
    for (int i = 0; i < pool->count; i++) { /* the smallest that is large enough */
        if (pool->buffer[i].taken || pool->buffer[i].bytes < bytes) continue;
        if (best < 0 || pool->buffer[i].bytes < pool->buffer[best].bytes) best = i;
    }
    if (best < 0) {
        for (int i = 0; i < pool->count && best < 0; i++) /* else one that is too small makes room */
            if (!pool->buffer[i].taken) best = i;
        if (best < 0 && pool->count == MP_POOL_BUFFERS)
            return mp_fail(err, MP_EINTERNAL, "judge: a slab with more than %d buffers", MP_POOL_BUFFERS);
        if (best < 0) best = pool->count++;
        free(pool->buffer[best].data);
        pool->buffer[best].bytes = bytes;
        pool->buffer[best].data = malloc(bytes);
    }
    if (!pool->buffer[best].data) {
        pool->buffer[best].bytes = 0;
        return mp_fail(err, MP_EMEMORY, "judge: no memory for %zu bytes of a slab", bytes);
    }
    pool->buffer[best].taken = true;
    *data = pool->buffer[best].data;
    return MP_OK;
}

void mp_ball_pool_give(mp_ball_pool *pool, const double *data) {
    for (int i = 0; i < pool->count && data; i++)
        if (pool->buffer[i].data == data) pool->buffer[i].taken = false;
}

void mp_ball_pool_free(mp_ball_pool *pool) {
    for (int i = 0; i < pool->count; i++) free(pool->buffer[i].data);
    *pool = (mp_ball_pool){0};
}

mp_status mp_balls_take(mp_ball_pool *pool, mp_balls *b, int64_t rows, int64_t width, mp_ball_radii radii,
                        mp_error *err) {
    mp_tensor *const parts[] = {&b->value, &b->sure, &b->det, &b->random};
    static const int count[] = {[MP_RADII_NONE] = 1, [MP_RADII_SURE_AND_DET] = 3, [MP_RADII_ALL] = 4};
    mp_status status = MP_OK;
    *b = (mp_balls){.rows = rows, .width = width, .exact = radii == MP_RADII_NONE};
    for (int i = 0; i < count[radii] && status == MP_OK; i++) {
        double *data;
        *parts[i] = mp_tensor_shape(MP_FP64, 2, rows, width, 1);
        status = mp_ball_pool_take(pool, rows * width, &data, err);
        parts[i]->data = data;
    }
    return status;
}

void mp_balls_drop(mp_ball_pool *pool, mp_balls *b) {
    mp_ball_pool_give(pool, b->value.data);
    mp_ball_pool_give(pool, b->sure.data);
    mp_ball_pool_give(pool, b->det.data);
    mp_ball_pool_give(pool, b->random.data);
    *b = (mp_balls){0};
}

static void zero(const mp_tensor *t, int64_t row) {
    if (t->data) memset(mp_tensor_row(t, row), 0, mp_tensor_row_bytes(t));
}

void mp_balls_zero_radii(const mp_balls *b, int64_t row) {
    zero(&b->sure, row);
    zero(&b->det, row);
    zero(&b->random, row);
}

void mp_balls_zero_row(const mp_balls *b, int64_t row) {
    zero(&b->value, row);
    mp_balls_zero_radii(b, row);
}
