/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels/: a stage on the device. Each is a file here, with its mp_device_stage and what it
 * compiles, and its device code kernels/device/<stage>.cu. */
#ifndef MP_KERNELS_STAGE_STAGE_H
#define MP_KERNELS_STAGE_STAGE_H

#include "kernels/device/params.h"
#include "kernels/gemm/gemm.h"
#include "kernels/stages.h"

typedef struct mp_device_stage {
    mp_stage_run *run; /* launches it; self is the mp_device_run. NULL: it cannot run on the device */
    /* Writes the distinct compilations of the stage that the case needs, MP_STAGE_KERNELS_MAX at most,
     * without those that such a device cannot run; returns their number. */
    int (*kernels)(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                   mp_kernel *list);
} mp_device_stage;
#define MP_DEVICE_STAGE(stage, scope, name) extern const mp_device_stage mp_device_##name;
MP_STAGES(MP_DEVICE_STAGE)
#undef MP_DEVICE_STAGE

/* What they compile. The entries of align.cu share one compilation. */
mp_kernel mp_kernel_align(const char *entry);
mp_kernel mp_kernel_activation(const mp_case *c);
mp_kernel mp_kernel_combine(mp_dtype dtype, int64_t topk, int64_t row_length, bool adds_shared, bool weighs);

/* act: -DACT and what else activated.cuh is compiled with, behind a blank; but for -DDTYPE and -DVECTOR. */
void mp_stage_act_options(const mp_case *c, char text[64]);
/* quant_act, which act launches with fused_quant: then it makes act's numbers too. */
mp_status mp_stage_launch_quant_act(const mp_device_run *run, const mp_stage_call *call, mp_error *err);
int mp_stage_quant_act_kernels(const mp_case *c, mp_kernel *list);

#define MP_MAX_GRID (INT64_C(1) << 30) /* blocks in one launch; the hardware's limit is 2^31 - 1 */
#define MP_STAGE_THREADS 256           /* of a block, where nothing else is said */

static inline int64_t mp_divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static inline int64_t mp_smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Blocks of MP_STAGE_THREADS for so many pieces of work; a grid that is too small for them loops. */
static inline int64_t mp_stage_blocks(int64_t pieces) {
    return mp_smaller(mp_divide_up(pieces, MP_STAGE_THREADS), MP_MAX_GRID);
}

/* Rows that a warp looks at together, of so many in `pieces`, a warp each: more than one where there are
 * enough of them to fill the device several times all the same. */
static inline int mp_stage_rows_at_a_time(int64_t rows, int64_t pieces) {
    const int64_t enough = 32768, each = rows * pieces / enough;
    return (int)(each < 1 ? 1 : mp_smaller(each, 32));
}

/* The ids of the case, which a run gets as the case numbers them. */
mp_ids_params mp_stage_ids(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT]);

/* The rows of a cache, `count` of them. */
mp_rows_params mp_stage_rows(const mp_stage_call *call, int64_t count);

/* Launches a grouped GEMM on `lists` lists of sorted slots, of list_blocks row blocks each. group_size_m and
 * first_block are set here. */
mp_status mp_stage_launch_gemm(const mp_device_run *run, const mp_gemm_request *request, int64_t lists,
                               mp_gemm_params *params, mp_error *err);
/* What it compiles, 0 or 1. */
int mp_stage_gemm_kernel(const mp_gemm_request *request, const mp_device_limits *limits, mp_kernel *list);

/* Launches a kernel that needs no dynamic shared memory. params points to its one argument. */
mp_status mp_stage_launch(const mp_device_run *run, const mp_kernel *kernel, int64_t blocks, int threads,
                          void *params, mp_error *err);

#endif
