/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity doctor: what this machine offers, and what will be skipped and why. */
#include "base/host_memory.h"
#include "cli/common.h"
#include "cli/find.h"

#include "golden/files.h"
#include "harness/run/memory.h"
#include "kernels/cuda.h"
#include "kernels/jit.h"
#include "kernels/lookup.h"
#include "moeparity/config.h"
#include "moeparity/inputs.h"
#include "ref/blas.h"
#include "ref/predict/gemm_fma.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_supply(void *ctx, const char *text) {
    mp_cli_say(stdout, "%-11s %s", (const char *)ctx, text);
}

int mp_cmd_doctor(const mp_args *args) {
    int count;
    mp_run_info info;
    mp_error err = {0};
    mp_cuda *cuda = NULL;
    const mp_micro_kernel *kernels;
    if (mp_cli_run_info(args, &info, &err) != MP_OK) return mp_cli_fail(&err);
    mp_micro_kernels(&kernels);
    printf("moeparity   %s (%s), %s\n", info.version, info.commit, mp_cli_compiler());
    printf("host        %s, %ld cores, %.1f GiB of memory available\n", info.host,
           sysconf(_SC_NPROCESSORS_ONLN), (double)mp_memory_available() / 0x1p30);
    if (mp_blas_load(&err) == MP_OK)
        printf("reference   %s (core type %s)\n", mp_blas_name(),
               getenv("OPENBLAS_CORETYPE") ? "chosen by OPENBLAS_CORETYPE or this program"
                                           : "as OpenBLAS detects it");
    else
        printf("reference   plain loops: %s\n", err.text);
    printf("host gemm   %s kernel, %d x %d\n", kernels[0].name, kernels[0].rows, kernels[0].columns);
    printf("goldens     HDF5 %s, fill version %d\n", mp_golden_library_version(), MP_FILL_VERSION);
    if (mp_cuda_open(&cuda, &err) == MP_OK)
        printf("cuda        %s, %s\n", mp_cuda_device_name(cuda), mp_cuda_versions(cuda));
    else
        printf("cuda        every case of subject cuda will be skipped: %s\n", err.text);
    const char *cache = mp_jit_cache_folder(&err);
    mp_cli_say(stdout, "jit cache   %s%s", *cache ? cache : "none: ", *cache ? "" : err.text);
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        const char *variable, *folder = mp_tuned_folder(i, &variable);
        if (folder) mp_cli_say(stdout, "tiles       %s=%s", variable, folder);
    }
    if (mp_find_all(MP_SUPPLY_MATRIX, print_supply, "matrix", &count, &err) != MP_OK)
        printf("matrix      %s\n", err.text);
    if (mp_find_all(MP_SUPPLY_GOLDEN, print_supply, "golden", &count, &err) != MP_OK)
        printf("golden      %s\n", err.text);
    mp_cuda_close(cuda);
    mp_run_info_free(&info);
    return MP_EXIT_OK;
}
