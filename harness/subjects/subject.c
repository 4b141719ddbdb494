#include "harness/subjects/subject.h"

#include "kernels/cuda.h"
#include "ref/blas.h"
#include "ref/predict/host.h"
#include "ref/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ref: the float64 reference in contract mode. */

static mp_status ref_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                             mp_error *err) {
    (void)s;
    *contract = (mp_contract){.accumulator = MP_ACC_FLOAT64,
                              .act_ulps = 1,
                              .float64_steps = true,
                              .stable_align = true,
                              .deterministic = true,
                              .batch_invariant =
                                  mp_blas_load(NULL) != MP_OK}; /* OpenBLAS chooses its kernels by shape */
    return mp_config_resolve(c, NULL, config, err);
}

static mp_status ref_run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison,
                         mp_trace *trace, mp_error *err) {
    mp_contract contract;
    mp_config config;
    const mp_status status = ref_resolve(s, c, &contract, &config, err);
    if (status != MP_OK) return status;
    return mp_ref_run(c, in, config.up.block_size_m,
                      mp_blas_load(NULL) == MP_OK ? MP_ENGINE_BLAS : MP_ENGINE_PLAIN, poison, trace, err);
}

/* host: the pipeline on the CPU in the arithmetic of sm_90. */

static mp_status host_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                              mp_error *err) {
    (void)s;
    *contract = mp_host_contract(c);
    return mp_config_resolve(c, NULL, config, err);
}

static mp_status host_run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison,
                          mp_trace *trace, mp_error *err) {
    mp_contract contract;
    mp_config config;
    const mp_status status = host_resolve(s, c, &contract, &config, err);
    if (status != MP_OK) return status;
    return mp_host_run(c, in, config.up.block_size_m, poison, trace, err);
}

static mp_status cpu_plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    (void)s, (void)err;
    *memory = (mp_memory){.host_bytes =
                              c->fused_sum ? (size_t)(mp_case_slots(c) * c->K) * mp_dtype_size(c->dtype) : 0};
    return MP_OK;
}

/* cuda: the kernels on the first GPU. */

static mp_contract cuda_contract(const mp_cuda *cuda, const mp_case *c) {
    mp_contract contract = mp_host_contract(c); /* the same activation source, rounding points and combine */
    contract.deterministic = !c->fused_sum;
    contract.batch_invariant = !c->fused_sum;
    mp_contract_set_accumulator(&contract, mp_cuda_architecture(cuda),
                                c->dtype); /* mma.sync, or fma for fp32 */
    return contract;
}

static mp_status cuda_resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                              mp_error *err) {
    *contract = cuda_contract(s->self, c);
    return mp_config_resolve(c, &(mp_config_query){.device = mp_cuda_device_name(s->self)}, config, err);
}

static mp_status cuda_plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    *memory = (mp_memory){0};
    return mp_cuda_plan(s->self, c, &memory->device_bytes, &memory->device_available, err);
}

static mp_status cuda_run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison,
                          mp_trace *trace, mp_error *err) {
    return mp_cuda_run(s->self, c, in, poison, trace, err);
}

static void cuda_close(mp_subject *s) {
    mp_cuda_close(s->self);
}

static mp_status cuda_open(mp_subject *s, mp_error *err) {
    mp_cuda *cuda = NULL;
    const mp_status status = mp_cuda_open(&cuda, err);
    if (status != MP_OK) return status;
    *s = (mp_subject){.name = "cuda",
                      .self = cuda,
                      .resolve = cuda_resolve,
                      .plan = cuda_plan,
                      .run = cuda_run,
                      .close = cuda_close};
    snprintf(s->device, sizeof s->device, "%s", mp_cuda_device_name(cuda));
    snprintf(s->versions, sizeof s->versions, "%s", mp_cuda_versions(cuda));
    return MP_OK;
}

bool mp_gpu_required(void) {
    const char *text = getenv("MOEPARITY_REQUIRE_GPU");
    return text && *text && strcmp(text, "0") != 0;
}

mp_status mp_subject_open(const char *name, mp_subject *s, mp_error *err) {
    *s = (mp_subject){0};
    if (strcmp(name, "ref") == 0) {
        *s = (mp_subject){.name = "ref", .resolve = ref_resolve, .plan = cpu_plan, .run = ref_run};
        return MP_OK;
    }
    if (strcmp(name, "host") == 0 || strcmp(name, "auto") == 0) {
        if (strcmp(name, "auto") ==
            0) { /* a GPU that is there but does not work is an error, not a reason to run elsewhere */
            const mp_status status = cuda_open(s, err);
            if (status != MP_EUNSUPPORTED || mp_gpu_required()) return status;
        }
        *s = (mp_subject){.name = "host", .resolve = host_resolve, .plan = cpu_plan, .run = host_run};
        return MP_OK;
    }
    if (strcmp(name, "cuda") == 0) return cuda_open(s, err);
    return mp_fail(err, MP_EINPUT, "unknown subject '%s': expected ref, host, cuda or auto", name);
}

void mp_subject_close(mp_subject *s) {
    if (s->close) s->close(s);
    *s = (mp_subject){0};
}
