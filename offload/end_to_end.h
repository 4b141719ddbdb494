/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the float64 pipeline on the device: its frame (end_to_end.c), and the steps between and behind
 * its sums, of values (value_steps.c) or of balls (ball_steps.c). */
#ifndef MP_OFFLOAD_END_TO_END_H
#define MP_OFFLOAD_END_TO_END_H

#include "offload/grouped_gemm.h"
#include "ref/ball_rules.h"
#include "ref/pipeline.h"

typedef struct mp_device_pipeline {
    mp_offload *o;
    mp_case c; /* in the order of slots */
    const mp_tensor *t;
    const mp_ball_rules *rules; /* NULL: values alone */
    mp_slot_map map;
    int64_t slab; /* tokens */
    CUdeviceptr topk_ids, weights, shared, bias[2], stored, x;
} mp_device_pipeline;

static inline CUdeviceptr mp_pipeline_scratch(const mp_device_pipeline *p, mp_scratch which) {
    return p->o->scratch[which].at;
}

/* Columns of gate and up in a row of gate_up. */
static inline int64_t mp_gate_step(const mp_case *c) {
    return mp_gate_column(c, 1) - mp_gate_column(c, 0);
}
static inline int64_t mp_up_behind_gate(const mp_case *c) {
    return mp_up_column(c, 0) - mp_gate_column(c, 0);
}

/* A GEMM of a slab, whose first slot is `first` of the case. */
typedef struct mp_pipeline_gemm {
    mp_grouped_gemm sums;
    mp_stage stage;
    int64_t first;
} mp_pipeline_gemm;

/* Each step reads what the one before left in its scratch buffer: gate_up's sums go to MP_SCRATCH_GATE_UP,
 * activations of that to MP_SCRATCH_ACT, down's sums to MP_SCRATCH_DOWN. MP_SCRATCH_RESULTS has the sums of a
 * piece. */
mp_status mp_value_epilogue(const mp_device_pipeline *p, const mp_pipeline_gemm *g, const mp_piece *piece,
                            mp_error *err);
mp_status mp_value_activate(const mp_device_pipeline *p, int64_t slots, mp_error *err);
mp_status mp_value_measure(const mp_device_pipeline *p, int64_t first, int64_t count, mp_dtype stored,
                           mp_error *err);

/* What steps of balls take of the device for each token beside these buffers: scales, and rules of sums. */
size_t mp_ball_bytes_of_token(const mp_device_pipeline *p);
/* quant_x: of tokens first .. first+count into MP_SCRATCH_QUANT_X; quant_act: of the slots of these,
 * where they lie. */
mp_status mp_ball_quantise(const mp_device_pipeline *p, mp_stage stage, int64_t first, int64_t count,
                           mp_error *err);
/* Has the GEMM sum radii, and brings the rules of its sums over so many rows; waits for the device. */
mp_status mp_ball_prepare_gemm(const mp_device_pipeline *p, mp_pipeline_gemm *g, int64_t rows, mp_error *err);
/* As those of values; each leaves balls. */
mp_status mp_ball_epilogue(const mp_device_pipeline *p, const mp_pipeline_gemm *g, const mp_piece *piece,
                           mp_error *err);
mp_status mp_ball_activate(const mp_device_pipeline *p, int64_t slots, mp_error *err);
mp_status mp_ball_measure(const mp_device_pipeline *p, int64_t first, int64_t count, mp_dtype stored,
                          mp_error *err);

/* Threads that take an element each, in turns where those are many. */
static inline int64_t mp_blocks_of_elements(int64_t elements, int threads) {
    return mp_blocks_in_turn((elements + threads - 1) / threads);
}

#endif
