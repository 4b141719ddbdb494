/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/handle.h"

#include "kernels/gemm/gemm.h"
#include "kernels/jit.h"
#include "kernels/lookup.h"
#include "kernels/stages.h"

#define XXH_INLINE_ALL
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The hooks of a handle that nobody gave others. */
static mp_status count_call(void *context, const mp_cuda_hook_view *view, mp_error *err) {
    (void)view, (void)err;
    ++*(int64_t *)context;
    return MP_OK;
}

void mp_cuda_set_hooks(mp_cuda *cuda, const mp_cuda_hooks *hooks) {
    cuda->hooks = hooks ? *hooks
                        : (mp_cuda_hooks){.context = &cuda->hook_calls,
                                          .after_gate_up = count_call,
                                          .after_down = count_call};
}

int64_t mp_cuda_hook_calls(const mp_cuda *cuda) {
    return cuda->hook_calls;
}

static void describe_versions(mp_cuda *cuda, int driver_version, const mp_nvrtc *nvrtc) {
    char compiler[32] = "";
    if (cuda->can_compile) snprintf(compiler, sizeof compiler, "NVRTC %d.%d, ", nvrtc->major, nvrtc->minor);
    snprintf(cuda->versions, sizeof cuda->versions, "driver %d.%d, %ssm_%d", driver_version / 1000,
             driver_version % 1000 / 10, compiler, cuda->limits.architecture);
}

static mp_status count_devices(const mp_driver *driver, int *count, mp_error *err) {
    if (mp_driver_check(driver, driver->cuInit(0), "cuInit", __FILE__, __LINE__, err) == MP_OK &&
        mp_driver_check(driver, driver->cuDeviceGetCount(count), "cuDeviceGetCount", __FILE__, __LINE__,
                        err) == MP_OK)
        return MP_OK;
    mp_error_prefix(err, "no usable CUDA device");
    return MP_EUNSUPPORTED;
}

mp_status mp_cuda_count(int *count, mp_error *err) {
    const mp_driver *driver = NULL;
    *count = 0;
    const mp_status status = mp_driver_load(&driver, err);
    return status == MP_OK ? count_devices(driver, count, err) : status;
}

/* With `kernels` what ours need must be there; else it is used where it is. */
static mp_status open_device(bool kernels, mp_cuda **result, mp_error *err) {
    mp_status status = MP_EINTERNAL;
    const mp_driver *driver = NULL;
    const mp_nvrtc *nvrtc = NULL;
    int count = 0, version = 0, major = 0, minor = 0, shared_limit = 0;
    CUdevice device = 0;
    mp_cuda *cuda = calloc(1, sizeof *cuda);
    *result = NULL;
    if (!cuda) return mp_fail(err, MP_EMEMORY, "%zu bytes for the CUDA handle", sizeof *cuda);

    MP_DO(mp_driver_load(&driver, err));
    status = mp_nvrtc_load(&nvrtc, kernels ? err : NULL);
    if (status != MP_OK && kernels) goto out;
    cuda->driver = driver;
    MP_DO(count_devices(driver, &count, err));
    if (count == 0) {
        status = mp_fail(err, MP_EUNSUPPORTED, "the CUDA driver sees no device");
        goto out;
    }
    MP_CU(cuDeviceGet(&device, 0));
    MP_CU(cuDeviceGetName(cuda->name, (int)sizeof cuda->name, device));
    MP_CU(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    MP_CU(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
    MP_CU(cuDeviceGetAttribute(&cuda->multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device));
    MP_CU(cuDeviceGetAttribute(&shared_limit, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device));
    MP_CU(cuDriverGetVersion(&version));
    cuda->limits = (mp_device_limits){.architecture = 10 * major + minor, .shared_bytes = shared_limit};
    if (kernels && cuda->limits.architecture < 80) {
        status = mp_fail(err, MP_EUNSUPPORTED,
                         "%s is sm_%d: sm_80 or newer is needed (mma.sync with bf16, cp.async)", cuda->name,
                         cuda->limits.architecture);
        goto out;
    }
    status = mp_jit_check_architecture(cuda->limits.architecture, kernels ? err : NULL);
    if (status != MP_OK && kernels) goto out;
    cuda->can_compile = status == MP_OK;
    cuda->shared = !kernels;
    describe_versions(cuda, version, nvrtc);
    MP_CU(cuDevicePrimaryCtxRetain(&cuda->context, device));
    cuda->device = device;
    MP_CU(cuCtxSetCurrent(cuda->context));
    mp_cuda_set_hooks(cuda, NULL);
    mp_cuda_make_space(cuda);
    mp_cuda_make_streams(cuda);
    *result = cuda;
    cuda = NULL;
    status = MP_OK;
out:
    if (err && status != MP_OK) err->status = status;
    mp_cuda_close(cuda);
    return status;
}

mp_status mp_cuda_open(mp_cuda **cuda, mp_error *err) {
    return open_device(true, cuda, err);
}

mp_status mp_cuda_open_memory(mp_cuda **cuda, mp_error *err) {
    return open_device(false, cuda, err);
}

void mp_cuda_close(mp_cuda *cuda) {
    if (!cuda) return;
    if (cuda->context) {
        cuda->driver->cuCtxSetCurrent(cuda->context);
        mp_pool_close(cuda);
        mp_ferries_close(cuda);
        mp_deliveries_close(cuda);
        mp_run_events_close(cuda);
        mp_streams_close(cuda);
        for (size_t i = 0; i < cuda->module_count; i++) cuda->driver->cuModuleUnload(cuda->modules[i].module);
        cuda->driver->cuDevicePrimaryCtxRelease_v2(cuda->device);
    }
    free(cuda->modules);
    free(cuda);
}

const char *mp_cuda_device_name(const mp_cuda *cuda) {
    return cuda->name;
}

int mp_cuda_architecture(const mp_cuda *cuda) {
    return cuda->limits.architecture;
}

const char *mp_cuda_versions(const mp_cuda *cuda) {
    return cuda->versions;
}

void mp_cuda_note_stages(const mp_cuda *cuda, const mp_case *c, mp_config *config) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if ((s != MP_GATE_UP && s != MP_DOWN) || !mp_case_has_stage(c, (mp_stage)s)) continue;
        const mp_gemm_request request = mp_gemm_of_case(c, config, (mp_stage)s);
        mp_gemm gemm;
        char tile[64];
        if (mp_gemm_find(&request, &cuda->limits, &gemm, NULL) != MP_OK ||
            gemm.stages == gemm.tile.num_stages)
            continue;
        mp_tile_text(&gemm.tile, tile);
        mp_config_warn(config, "tile %s is built with %d stages: %d do not fit", tile, gemm.stages,
                       gemm.tile.num_stages);
    }
}

/* Entries of one compilation share it. Of hundreds most differ by their keys. */
static uint64_t key_of(const mp_kernel *kernel) {
    return XXH3_64bits_withSeed(kernel->options, strlen(kernel->options),
                                XXH3_64bits(kernel->source, strlen(kernel->source)));
}

static bool same_compilation(const mp_kernel *a, uint64_t key_a, const mp_kernel *b, uint64_t key_b) {
    return key_a == key_b && strcmp(a->source, b->source) == 0 && strcmp(a->options, b->options) == 0;
}

/* Kernels, each of another compilation. */
typedef struct kernel_list {
    mp_kernel *kernel; /* [room] */
    uint64_t *key;
    int64_t count, room;
} kernel_list;

static mp_status make_room(kernel_list *list, mp_error *err) {
    if (list->count < list->room) return MP_OK;
    const int64_t room = list->room ? 2 * list->room : 64;
    mp_kernel *kernel = realloc(list->kernel, (size_t)room * sizeof *kernel);
    if (kernel) list->kernel = kernel;
    uint64_t *key = kernel ? realloc(list->key, (size_t)room * sizeof *key) : NULL;
    if (!key) return mp_fail(err, MP_EMEMORY, "a list of %lld kernels", (long long)room);
    list->key = key;
    list->room = room;
    return MP_OK;
}

static mp_status add_kernel(kernel_list *list, const mp_kernel *kernel, mp_error *err) {
    const uint64_t key = key_of(kernel);
    for (int64_t i = 0; i < list->count; i++)
        if (same_compilation(&list->kernel[i], list->key[i], kernel, key)) return MP_OK;
    const mp_status status = make_room(list, err);
    if (status != MP_OK) return status;
    list->key[list->count] = key;
    list->kernel[list->count++] = *kernel;
    return MP_OK;
}

mp_status mp_cuda_prepare(mp_cuda *cuda, const mp_case *cases, const mp_config *configs, size_t count,
                          int threads, mp_error *err) {
    kernel_list list = {0};
    mp_status status = MP_OK;
    for (size_t i = 0; i < count; i++) {
        mp_kernel wanted[MP_CASE_KERNELS_MAX];
        const int wanted_count = mp_case_kernels(&cases[i], &configs[i], &cuda->limits, wanted);
        for (int k = 0; k < wanted_count; k++) MP_DO(add_kernel(&list, &wanted[k], err));
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads > 0 ? threads : 1)
    for (int64_t i = 0; i < list.count; i++) {
        void *cubin = NULL;
        size_t cubin_bytes = 0;
        if (mp_jit_cubin(&list.kernel[i], cuda->limits.architecture, &cubin, &cubin_bytes, NULL) == MP_OK)
            free(cubin);
    }
out:
    free(list.kernel);
    free(list.key);
    return status;
}

static mp_status find_entry(const mp_cuda *cuda, mp_module *module, const char *name, CUfunction *function,
                            mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    int i = 0;
    while (i < MP_MODULE_ENTRIES && module->entry[i] && strcmp(module->entry[i], name) != 0) i++;
    if (i < MP_MODULE_ENTRIES && module->entry[i]) {
        *function = module->function[i];
        return MP_OK;
    }
    MP_CU(cuModuleGetFunction(function, module->module, name));
    if (i == MP_MODULE_ENTRIES) goto out;
    module->entry[i] = name; /* a literal: kernels are told by constants */
    module->function[i] = *function;
out:
    return status;
}

mp_status mp_cuda_function(mp_cuda *cuda, const mp_kernel *kernel, CUfunction *function, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    void *cubin = NULL;
    size_t cubin_bytes = 0, i = 0;
    const uint64_t key = key_of(kernel);
    while (i < cuda->module_count &&
           !same_compilation(&cuda->modules[i].kernel, cuda->modules[i].key, kernel, key))
        i++;
    if (i == cuda->module_count) {
        mp_module *modules = realloc(cuda->modules, (i + 1) * sizeof *modules);
        if (!modules) return mp_fail(err, MP_EMEMORY, "a list of %zu device modules", i + 1);
        cuda->modules = modules;
        modules[i] = (mp_module){.kernel = *kernel, .key = key};
        MP_DO(mp_jit_cubin(kernel, cuda->limits.architecture, &cubin, &cubin_bytes, err));
        MP_CU(cuModuleLoadData(&modules[i].module, cubin));
        cuda->module_count++;
    }
    MP_DO(find_entry(cuda, &cuda->modules[i], kernel->entry, function, err));
out:
    free(cubin);
    if (status != MP_OK) mp_error_prefix(err, "%s %s", kernel->entry, kernel->options);
    return status;
}

/* What was put off is on the default stream, for which others do not wait. */
static mp_status deliver_before(mp_cuda *cuda, CUstream stream, mp_error *err) {
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    if (cuda->deliveries.pending.count == 0) return MP_OK;
    MP_DO(mp_deliver(cuda, err));
    if (stream) MP_CU(cuStreamSynchronize(NULL));
out:
    return status;
}

mp_status mp_cuda_launch(mp_cuda *cuda, CUstream stream, CUfunction function, int64_t blocks, int threads,
                         int64_t shared_bytes, void *params, mp_error *err) {
    const mp_status status = deliver_before(cuda, stream, err);
    if (status != MP_OK) return status;
    const CUresult result =
        cuda->driver->cuLaunchKernel(function, (unsigned)blocks, 1, 1, (unsigned)threads, 1, 1,
                                     (unsigned)shared_bytes, stream, (void *[]){params}, NULL);
    if (result == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES) {
        int registers = 0;
        cuda->driver->cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function);
        return mp_fail(err, MP_EUNSUPPORTED,
                       "%d threads of %d registers with %lld bytes of shared memory do not fit on %s",
                       threads, registers, (long long)shared_bytes, cuda->name);
    }
    return mp_driver_check(cuda->driver, result, "cuLaunchKernel", __FILE__, __LINE__, err);
}
