/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of a GEMM, brought to the device. */
#include "offload/handle.h"

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
