/* The pipeline on the CPU as a kernel would do it: float32 accumulation in a fixed order (ref/host_gemm.h), the float32 activation that the CUDA kernels are
 * compiled from (ref/activation_f32.h), every rounding point of the pipeline. Its bits are the same on every machine. */
#ifndef MP_REF_HOST_H
#define MP_REF_HOST_H

#include "cases/inputs.h"
#include "ref/contract.h"
#include "ref/trace.h"

mp_contract mp_host_contract(const mp_case *c);
/* Creates the trace (to be destroyed by the caller, after an error too) and fills it. */
mp_status mp_host_run(const mp_case *c, const mp_inputs *in, int block_size_m, uint32_t poison, mp_trace *trace, mp_error *err);

#endif
