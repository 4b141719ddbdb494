/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA driver API and NVRTC, loaded at run time.
 *
 * Only what this program calls is declared, by hand, so that building needs no CUDA toolkit and one binary
 * runs with and without a GPU. Types and constants follow the public CUDA driver API and NVRTC references;
 * handles are opaque pointers there and here.
 */
#ifndef MP_KERNELS_DRIVER_H
#define MP_KERNELS_DRIVER_H

#include "moeparity/status.h"

#include <stddef.h>

typedef int CUresult, CUdevice, nvrtcResult;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct _nvrtcProgram *nvrtcProgram;
typedef struct CUipcMemHandle_st {
    char reserved[64];
} CUipcMemHandle;

enum { /* CUresult */
       CUDA_SUCCESS = 0,
       CUDA_ERROR_OUT_OF_MEMORY = 2,
       CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701
};
enum { /* CUdevice_attribute */
       CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
       CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
       CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
       CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO = 87,
       CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97
};
enum { /* CUtensorMap */
       CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0,
       CU_TENSOR_MAP_INTERLEAVE_NONE = 0,
       CU_TENSOR_MAP_SWIZZLE_128B = 3,
       CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3,
       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0
};
enum { CU_STREAM_DEFAULT = 0, CU_STREAM_NON_BLOCKING = 1, CU_STREAM_CAPTURE_MODE_GLOBAL = 0 };
enum { CU_STREAM_CAPTURE_STATUS_NONE = 0 }; /* CUstreamCaptureStatus: nothing is captured */
enum { CU_EVENT_DISABLE_TIMING = 2 };
enum { /* CUfunction_attribute */
       CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
       CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
       CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
};

/* Symbols carry the version suffix that the toolkit's header would add by macro. */
#define MP_DRIVER_FUNCTIONS(X)                                                                        \
    X(cuInit, (unsigned flags))                                                                       \
    X(cuDriverGetVersion, (int *version))                                                             \
    X(cuDeviceGetCount, (int *count))                                                                 \
    X(cuDeviceGet, (CUdevice * device, int ordinal))                                                  \
    X(cuDeviceGetName, (char *name, int length, CUdevice device))                                     \
    X(cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))                             \
    X(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                               \
    X(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                                \
    X(cuCtxSetCurrent, (CUcontext context))                                                           \
    X(cuCtxSynchronize, (void))                                                                       \
    X(cuMemGetInfo_v2, (size_t * free_bytes, size_t * total_bytes))                                   \
    X(cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes))                                           \
    X(cuMemFree_v2, (CUdeviceptr pointer))                                                            \
    X(cuIpcGetMemHandle, (CUipcMemHandle * handle, CUdeviceptr pointer))                              \
    X(cuMemcpyHtoD_v2, (CUdeviceptr to, const void *from, size_t bytes))                              \
    X(cuMemcpyDtoH_v2, (void *to, CUdeviceptr from, size_t bytes))                                    \
    X(cuMemHostAlloc, (void **pointer, size_t bytes, unsigned flags))                                 \
    X(cuMemFreeHost, (void *pointer))                                                                 \
    X(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))        \
    X(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream))              \
    X(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))        \
    X(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t count, CUstream stream))          \
    X(cuMemsetD16Async, (CUdeviceptr to, unsigned short value, size_t count, CUstream stream))        \
    X(cuMemsetD32Async, (CUdeviceptr to, unsigned value, size_t count, CUstream stream))              \
    X(cuModuleLoadData, (CUmodule * module, const void *image))                                       \
    X(cuModuleUnload, (CUmodule module))                                                              \
    X(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char *name))                \
    X(cuFuncGetAttribute, (int *value, int attribute, CUfunction function))                           \
    X(cuFuncSetAttribute, (CUfunction function, int attribute, int value))                            \
    X(cuTensorMapEncodeTiled,                                                                         \
      (void *map, int type, unsigned rank, void *address, const unsigned long long *dims,             \
       const unsigned long long *strides, const unsigned *box, const unsigned *steps, int interleave, \
       int swizzle, int promotion, int fill))                                                         \
    X(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,        \
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,   \
                       CUstream stream, void **params, void **extra))                                 \
    X(cuStreamCreate, (CUstream * stream, unsigned flags))                                            \
    X(cuStreamDestroy_v2, (CUstream stream))                                                          \
    X(cuStreamSynchronize, (CUstream stream))                                                         \
    X(cuLaunchHostFunc, (CUstream stream, void (*function)(void *self), void *self))                  \
    X(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                            \
    X(cuStreamBeginCapture_v2, (CUstream stream, int mode))                                           \
    X(cuStreamIsCapturing, (CUstream stream, int *status))                                            \
    X(cuStreamEndCapture, (CUstream stream, CUgraph * graph))                                         \
    X(cuGraphInstantiateWithFlags, (CUgraphExec * exec, CUgraph graph, unsigned long long flags))     \
    X(cuGraphLaunch, (CUgraphExec exec, CUstream stream))                                             \
    X(cuGraphExecDestroy, (CUgraphExec exec))                                                         \
    X(cuGraphDestroy, (CUgraph graph))                                                                \
    X(cuEventCreate, (CUevent * event, unsigned flags))                                               \
    X(cuEventRecord, (CUevent event, CUstream stream))                                                \
    X(cuEventSynchronize, (CUevent event))                                                            \
    X(cuEventElapsedTime, (float *milliseconds, CUevent start, CUevent end))                          \
    X(cuEventDestroy_v2, (CUevent event))                                                             \
    X(cuGetErrorName, (CUresult error, const char **name))                                            \
    X(cuGetErrorString, (CUresult error, const char **text))

#define MP_NVRTC_FUNCTIONS(X)                                                                              \
    X(nvrtcVersion, (int *major, int *minor))                                                              \
    X(nvrtcGetNumSupportedArchs, (int *count))                                                             \
    X(nvrtcGetSupportedArchs, (int *architectures))                                                        \
    X(nvrtcCreateProgram, (nvrtcProgram * program, const char *source, const char *name, int header_count, \
                           const char *const *headers, const char *const *header_names))                   \
    X(nvrtcDestroyProgram, (nvrtcProgram * program))                                                       \
    X(nvrtcCompileProgram, (nvrtcProgram program, int option_count, const char *const *options))           \
    X(nvrtcGetCUBINSize, (nvrtcProgram program, size_t * bytes))                                           \
    X(nvrtcGetCUBIN, (nvrtcProgram program, char *cubin))                                                  \
    X(nvrtcGetProgramLogSize, (nvrtcProgram program, size_t * bytes))                                      \
    X(nvrtcGetProgramLog, (nvrtcProgram program, char *log))

#define MP_DECLARE_FUNCTION(name, parameters) int(*name) parameters;
typedef struct mp_driver {
    MP_DRIVER_FUNCTIONS(MP_DECLARE_FUNCTION)
} mp_driver;
typedef struct mp_nvrtc {
    MP_NVRTC_FUNCTIONS(MP_DECLARE_FUNCTION)
    const char *(*nvrtcGetErrorString)(nvrtcResult result);
    int major, minor; /* its version */
} mp_nvrtc;
#undef MP_DECLARE_FUNCTION

/* Load once and stay loaded; later calls return the same table, or fail with the same reason. Thread-safe.
 * MP_EUNSUPPORTED when the library is absent or lacks a function. NVRTC is looked for by its plain name, then
 * in $CUDA_HOME/lib64 and /usr/local/cuda/lib64. */
mp_status mp_driver_load(const mp_driver **driver, mp_error *err);
mp_status mp_nvrtc_load(const mp_nvrtc **nvrtc, mp_error *err);

/* MP_OK for CUDA_SUCCESS; MP_EMEMORY when memory ran out; else MP_EDEVICE with name and description. `what`
 * says what was attempted. */
mp_status mp_driver_check(const mp_driver *driver, CUresult result, const char *what, const char *file,
                          int line, mp_error *err);

/* Runs a driver call; on failure sets `status` and jumps to `out`. Needs `driver`, `status` and `err` in
 * scope. */
#define MP_CU(call)                                                                     \
    do {                                                                                \
        status = mp_driver_check(driver, driver->call, #call, __FILE__, __LINE__, err); \
        if (status != MP_OK) goto out;                                                  \
    } while (0)
/* Passes on the failure of one of our own calls. */
#define MP_DO(call)                    \
    do {                               \
        status = (call);               \
        if (status != MP_OK) goto out; \
    } while (0)

#endif
