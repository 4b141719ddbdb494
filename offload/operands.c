/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of a GEMM, brought to the device. */
#include "offload/handle.h"

#include <stdlib.h>

mp_number_format mp_describe_format(mp_dtype dtype) {
    const mp_format *f = mp_dtype_format(dtype);
    const bool power = dtype == MP_UE8M0;
    return (mp_number_format){.kind = power              ? MP_NUMBER_POWER
                                      : dtype == MP_FP64 ? MP_NUMBER_FLOAT64
                                      : !f->is_integer   ? MP_NUMBER_FLOAT
                                      : f->has_sign      ? MP_NUMBER_SIGNED
                                                         : MP_NUMBER_UNSIGNED,
                              .bits = f->bits,
                              .precision = f->precision,
                              .emin = f->emin,
                              .has_inf = f->has_inf,
                              .largest = mp_encode_code(dtype, f->max_finite)};
}

void mp_operand_tensors(const mp_operand *operand, const mp_tensor *tensors[4]) {
    const bool scaled = operand->scale;
    tensors[0] = operand->codes;
    tensors[1] = operand->scale;
    tensors[2] = scaled ? operand->zeros : NULL;
    tensors[3] = scaled ? operand->global : NULL;
}

mp_device_operand mp_describe_operand(const mp_operand *o) {
    const mp_tensor *codes = o->codes, *global = o->scale ? o->global : NULL;
    mp_device_operand d = {.code_format = mp_describe_format(codes->dtype),
                           .rounds = o->rounds,
                           .zeros_in_pairs = o->zeros_in_pairs,
                           .globals_alternate = o->globals_alternate,
                           .zero = o->zero,
                           .length = mp_tensor_row_length(codes),
                           .matrix_rows = codes->dim[codes->rank - 2],
                           .block_rows = o->block_rows,
                           .block_columns = o->block_columns};
    if (o->scale) d.scale_format = mp_describe_format(o->scale->dtype);
    if (global) d.global_format = mp_describe_format(global->dtype);
    if (global) d.globals = global->dim[global->rank - 1];
    if (o->rounds) d.rounded = mp_describe_format(o->rounded);
    return d;
}

mp_status mp_offload_operand(mp_offload *o, const mp_operand *operand, mp_scratch first,
                             mp_device_operand *on_device, mp_error *err) {
    const mp_tensor *tensors[4];
    CUdeviceptr at[4] = {0};
    mp_status status = MP_OK;
    mp_operand_tensors(operand, tensors);
    for (int i = 0; i < 4 && status == MP_OK; i++)
        if (tensors[i]) status = mp_offload_upload(o, tensors[i], first + (mp_scratch)i, &at[i], err);
    *on_device = mp_describe_operand(operand);
    on_device->codes = at[0];
    on_device->scale = at[1];
    on_device->zeros = at[2];
    on_device->global = at[3];
    return status;
}

bool mp_is_stored_float(mp_dtype dtype) {
    return dtype == MP_BF16 || dtype == MP_FP16 || dtype == MP_FP32;
}

mp_status mp_offload_stored_rows(mp_offload *o, const mp_gemm_tasks *tasks, const mp_row_block *blocks,
                                 int64_t count, const mp_epilogue *epilogue, const int64_t *stored_row,
                                 mp_error *err) {
    const mp_row_block *last = &blocks[count - 1];
    const size_t bytes = (size_t)(last->row + last->count) * sizeof(mp_screened_row);
    mp_device_buffer *buffer = &o->scratch[MP_SCRATCH_SCREENED_ROWS];
    mp_screened_row *row = malloc(bytes);
    if (!row) return mp_fail(err, MP_EMEMORY, "no memory for the order of what is stored");
    for (int64_t i = 0; i < count; i++)
        for (int64_t r = 0; r < blocks[i].count; r++) {
            const int64_t slot = tasks->order[blocks[i].first + r];
            row[blocks[i].row + r] =
                (mp_screened_row){.got = stored_row ? stored_row[slot] : slot,
                                  .expert = blocks[i].expert,
                                  .weight = epilogue->weights ? (double)epilogue->weights[slot] : 0};
        }
    mp_status status = mp_offload_reserve(o, buffer, bytes, err);
    if (status == MP_OK) status = mp_offload_copy_in(o, buffer->at, row, bytes, err);
    free(row);
    return status;
}
