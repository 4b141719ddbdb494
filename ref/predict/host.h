/* The pipeline on the CPU in the arithmetic of sm_90 (ref/predict/host_stages.h): the prediction of what a
 * kernel under this contract computes. Its bits are the same on every machine. */
#ifndef MP_REF_HOST_H
#define MP_REF_HOST_H

#include "cases/inputs.h"
#include "ref/contract.h"
#include "cases/trace.h"

#define MP_HOST_ARCHITECTURE 90 /* whose bits it predicts */

mp_contract mp_host_contract(const mp_case *c);
/* Creates the trace (to be destroyed by the caller, after an error too) and fills it. */
mp_status mp_host_run(const mp_case *c, const mp_inputs *in, int block_size_m, uint32_t poison,
                      mp_trace *trace, mp_error *err);
/* The same with the accumulators of another contract. */
mp_status mp_host_predict(const mp_contract *contract, const mp_case *c, const mp_inputs *in,
                          int block_size_m, uint32_t poison, mp_trace *trace, mp_error *err);

#endif
