/* SPDX-License-Identifier: Apache-2.0 */
/* Inside offload/: the device, what lies on it, and how it gets there. */
#ifndef MP_OFFLOAD_HANDLE_H
#define MP_OFFLOAD_HANDLE_H

#include "kernels/handle.h"
#include "offload/device/params.h"
#include "offload/device/screen.h"
#include "offload/offload.h"
#include "offload/pieces.h"

typedef struct mp_device_buffer {
    CUdeviceptr at;
    size_t bytes; /* 0: there is none */
} mp_device_buffer;

enum { MP_STEP_INPUTS = 6 };

/* What a GEMM needs beside the kept inputs: the parts of operands, and what is made of them. */
typedef enum mp_scratch {
    MP_SCRATCH_A, /* codes, scale, zeros, global scale: mp_operand_tensors */
    MP_SCRATCH_W = MP_SCRATCH_A + 4,
    MP_SCRATCH_RADIUS = MP_SCRATCH_W + 4, /* sure, det, random */
    MP_SCRATCH_ROWS = MP_SCRATCH_RADIUS + 3,
    MP_SCRATCH_SLOTS,
    MP_SCRATCH_TILES,
    MP_SCRATCH_DECODED_A,
    MP_SCRATCH_DECODED_W,
    MP_SCRATCH_RESULTS,
    MP_SCRATCH_GOT,
    MP_SCRATCH_BIAS,
    MP_SCRATCH_SCREENED_ROWS,
    MP_SCRATCH_CANARIES,
    /* The pipeline's: x as it is quantised, sums of gate_up behind their epilogue, of down, and between them
     * the activation. */
    MP_SCRATCH_QUANT_X,
    MP_SCRATCH_GATE_UP,
    MP_SCRATCH_ACT,
    MP_SCRATCH_DOWN,
    MP_SCRATCH_GROUPS,
    MP_SCRATCH_REACH,
    MP_SCRATCH_RULES,
    MP_SCRATCH_BOUNDS,
    MP_SCRATCH_INPUT, /* those of steps that are not kept */
    MP_SCRATCH_FIGURES = MP_SCRATCH_INPUT + MP_STEP_INPUTS,
    MP_SCRATCH_COUNT
} mp_scratch;

enum { MP_LANDINGS = 2 };

/* Memory of somebody else on the device that holds the same bytes as memory of the host. */
typedef struct mp_loan {
    const char *host;
    size_t bytes;
    CUdeviceptr at;
} mp_loan;
enum { MP_LOANS = 2 * MP_TENSOR_COUNT }; /* inputs and outputs */

typedef struct mp_preparation mp_preparation; /* prepare.c: kernels that are being compiled */

struct mp_offload {
    mp_engine engine;
    mp_cuda *cuda;
    CUstream stream;
    int share;
    bool fast;
    const mp_inputs *in; /* of the case, or NULL */
    mp_device_buffer kept[MP_TENSOR_COUNT], scratch[MP_SCRATCH_COUNT];
    mp_loan loan[MP_LOANS];
    int loans;
    /* Pinned memory of the host, where what is large lands; an event is recorded behind the last copy of
     * each. */
    void *landing[MP_LANDINGS];
    size_t landing_bytes;
    CUevent landed[MP_LANDINGS];
    int64_t gemms, left_to_cpu, predicted; /* of the case */
    char name[512];
    mp_preparation *preparation; /* NULL: none is under way */
};

extern const mp_device_texts mp_offload_texts; /* of offload/device/ */

/* prepare.c: waits for what is being compiled. */
void mp_offload_prepared(mp_offload *offload);

/* ---- memory.c ---- */

/* Gives back all memory that is the offload's own. */
void mp_offload_drop(mp_offload *offload);
/* Where the tensor lies in what was lent, whole or as a part of it, at a multiple of 16; 0: nowhere. */
CUdeviceptr mp_offload_lent(const mp_offload *offload, const mp_tensor *tensor);
/* At least so many bytes; what the buffer held is lost where it has to grow. */
mp_status mp_offload_reserve(mp_offload *offload, mp_device_buffer *buffer, size_t bytes, mp_error *err);
/* Bytes that a GEMM may take of the device, with what is taken already. */
mp_status mp_offload_budget(mp_offload *offload, size_t *bytes, mp_error *err);
/* Landings of at least so many bytes; nothing may be on its way. */
mp_status mp_offload_make_landings(mp_offload *offload, size_t bytes, mp_error *err);
/* In the order of the stream; `from` may change once it returns. */
mp_status mp_offload_copy_in(mp_offload *offload, CUdeviceptr to, const void *from, size_t bytes,
                             mp_error *err);
/* The tensor on the device: where it was lent; kept, where it is an input of the case; else in the scratch
 * buffer. */
mp_status mp_offload_upload(mp_offload *offload, const mp_tensor *tensor, mp_scratch scratch, CUdeviceptr *at,
                            mp_error *err);
/* How many bytes an upload would take that are not taken yet. */
size_t mp_offload_upload_bytes(const mp_offload *offload, const mp_tensor *tensor);

/* ---- operands.c ---- */

/* Codes, scale, zeros and global scale of an operand, those that it has; NULL the others. */
void mp_operand_tensors(const mp_operand *operand, const mp_tensor *tensors[4]);
/* Uploads them, the codes into `first` and the others into those behind it. */
mp_status mp_offload_operand(mp_offload *offload, const mp_operand *operand, mp_scratch first,
                             mp_device_operand *on_device, mp_error *err);
/* What the device is told of a format, and of an operand, but for its addresses. */
mp_number_format mp_describe_format(mp_dtype dtype);
mp_device_operand mp_describe_operand(const mp_operand *operand);
/* Float formats of 32 bits at most that have Inf: what stages store of sums. */
bool mp_is_stored_float(mp_dtype dtype);
/* Where the rows of all blocks are stored, in their order, into MP_SCRATCH_SCREENED_ROWS; stored_row NULL:
 * the slot itself. */
mp_status mp_offload_stored_rows(mp_offload *offload, const mp_gemm_tasks *tasks, const mp_row_block *blocks,
                                 int64_t count, const mp_epilogue *epilogue, const int64_t *stored_row,
                                 mp_error *err);
/* A block for each row (or so many elements): of many rows each takes some in turn. */
static inline int64_t mp_blocks_in_turn(int64_t rows) {
    const int64_t most = 1 << 16;
    return rows < most ? rows : most;
}
/* Launches a kernel of mp_offload_texts, of one without options by its source and entry; params points to its
 * one argument. */
mp_status mp_offload_launch_kernel(mp_offload *offload, const mp_kernel *kernel, int64_t blocks, int threads,
                                   void *params, mp_error *err);
mp_status mp_offload_launch(mp_offload *offload, const char *source, const char *entry, int64_t blocks,
                            int threads, void *params, mp_error *err);

/* ---- offload.c ---- */

/* The judge has failed on the device, whatever *err says of it: waits, for nothing may land later. Returns
 * MP_EDEVICE. */
mp_status mp_offload_failed(mp_offload *offload, mp_error *err);
/* The same of what ended with `status`, but MP_EUNSUPPORTED without memory, where the CPU can do it. */
mp_status mp_offload_ended(mp_offload *offload, mp_status status, mp_error *err);

/* ---- gemm_float64.c ---- */

mp_status mp_offload_gemm_float64(const mp_engine *self, const mp_gemm_problem *problem, bool with_mass,
                                  mp_gemm_visit visit, void *ctx, mp_error *err);
mp_status mp_offload_measure_gemm(const mp_engine *self, const mp_gemm_problem *problem,
                                  const mp_gemm_screen *screen, mp_gemm_visit visit, void *ctx,
                                  mp_error *err);

/* ---- screen_stages.c ---- */

/* mp_engine's measure_act, measure_combine, see_groups and measure_quant. */
mp_status mp_offload_measure_act(const mp_engine *self, const mp_act_screen *screen, mp_row_figures *figures,
                                 mp_error *err);
mp_status mp_offload_measure_combine(const mp_engine *self, const mp_combine_screen *screen,
                                     mp_row_figures *figures, mp_error *err);

mp_status mp_offload_see_groups(const mp_engine *self, const mp_quant_pass *pass, mp_quant_seen *seen,
                                mp_error *err);
mp_status mp_offload_measure_quant(const mp_engine *self, const mp_quant_screen *screen,
                                   mp_quant_figures *figures, mp_error *err);

/* ---- confirm_stages.c ---- */

/* mp_engine's confirm_act, confirm_combine and confirm_quant. */
mp_status mp_offload_confirm_act(const mp_engine *self, const mp_act_bits *bits, const mp_tensor *got,
                                 bool *equal, mp_error *err);
mp_status mp_offload_confirm_combine(const mp_engine *self, const mp_combine_bits *bits, const mp_tensor *got,
                                     bool *equal, mp_error *err);

mp_status mp_offload_confirm_quant(const mp_engine *self, const mp_quant_bits *bits, bool *equal,
                                   mp_error *err);

/* ---- end_to_end.c ---- */

/* mp_engine's end_to_end. */
mp_status mp_offload_end_to_end(const mp_engine *self, const mp_case *c, const mp_inputs *in,
                                const mp_tensor *out, const mp_ball_rules *rules, mp_token_figures *figures,
                                mp_bound_figures *bounds, mp_error *err);

/* ---- predict.c ---- */

/* mp_engine's predict_gemm and confirm_gemm. Some slots are predicted by the CPU as well: MP_EDEVICE where
 * it has other bits. */
mp_status mp_offload_predict_gemm(const mp_engine *self, const mp_gemm_contract *contract,
                                  const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                                  const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                                  mp_error *err);
mp_status mp_offload_confirm_gemm(const mp_engine *self, const mp_gemm_contract *contract,
                                  const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                                  const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *got,
                                  bool *equal, mp_error *err);

#endif
