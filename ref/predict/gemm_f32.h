/* SPDX-License-Identifier: Apache-2.0 */
/* The grouped GEMM with float32 results: what every float32 engine shares. Tasks for threads, packing of
 * operands, blocks of results, epilogue, store. */
#ifndef MP_REF_GEMM_F32_H
#define MP_REF_GEMM_F32_H

#include "ref/gemm.h"
#include "ref/gemm_tasks.h"

/* Which results a block holds: `count` slots of one expert by columns n0 .. n0+n of its w. */
typedef struct mp_gemm_f32_tile {
    int64_t expert, count, n0, n;
    const int64_t *slot;
} mp_gemm_f32_tile;

/* What a GEMM is asked for: mp_gemm_f32's arguments, and its slots by expert. */
typedef struct mp_gemm_f32_call {
    const mp_gemm_problem *problem;
    const mp_epilogue *epilogue;
    const int64_t *out_row; /* or NULL */
    const mp_tensor *out;
    const int64_t *order; /* what tasks count in */
} mp_gemm_f32_call;

/* Where in out a slot's row begins, in elements; negative: it is not stored. */
static inline int64_t mp_gemm_f32_out_at(const mp_gemm_f32_call *call, int64_t slot) {
    const int64_t row = call->out_row ? call->out_row[slot] : slot;
    return row < 0 ? -1 : row * mp_tensor_row_length(call->out);
}

/* An engine: how a block of results comes about. It chooses the packed form of its operands; the first packed
 * row and panel are 64-byte aligned. An engine with data of its own has this struct as its first member. */
typedef struct mp_gemm_f32_engine mp_gemm_f32_engine;
struct mp_gemm_f32_engine {
    const char *name;              /* for messages */
    int rows, columns;             /* of a block; columns divides MP_SLAB_COLUMNS */
    size_t row_bytes, panel_bytes; /* of a packed row of a, and of `columns` packed rows of w */
    void (*pack_row)(const mp_gemm_f32_engine *engine, const mp_tensor *a, int64_t row, void *packed);
    /* Rows first .. first+count of w, taken as [E*n, k]; columns of the panel behind them are zero. scratch:
     * k floats. */
    void (*pack_panel)(const mp_gemm_f32_engine *engine, const mp_tensor *w, int64_t first, int64_t count,
                       float *scratch, void *packed);
    /* result[rows,columns] = sum over k of the packed operands. Only the tile's rows and columns have a
     * meaning. */
    void (*run)(const mp_gemm_f32_engine *engine, const mp_gemm_f32_tile *tile, const void *rows,
                const void *panel, float *result);
    /* Stores all results of a task in a way of its own, true; or false, and they come block by block.
     * scratch: shortcut_bytes, 64-byte aligned. NULL: it knows none. */
    bool (*shortcut)(const mp_gemm_f32_engine *engine, const mp_gemm_f32_call *call, const mp_gemm_task *task,
                     void *scratch);
    size_t shortcut_bytes;
};

/* Arguments as mp_gemm_stage; a and w as the engine wants them; bias and out are bf16, fp16 or fp32. Epilogue
 * in float32: + bias, * router weight; then one RNE to out's dtype. Slots whose id is -1 get zeros; other
 * rows of out are not touched. Results do not depend on the number of threads. */
mp_status mp_gemm_f32(const mp_gemm_f32_engine *engine, const mp_gemm_problem *problem,
                      const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                      mp_error *err);

#endif
