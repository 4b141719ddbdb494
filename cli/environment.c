/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include "cli/common.h"

const mp_variable_row mp_variables[] = {
    {"MOEPARITY_REQUIRE_GPU", "1: this machine must have a GPU. Where everything would be skipped the exit "
                              "code is 3, and subject auto means cuda."},
    {"MOEPARITY_CACHE", "Folder of compiled kernels, instead of ~/.cache/moeparity."},
    {"XDG_CACHE_HOME", "Without MOEPARITY_CACHE, compiled kernels are in its moeparity/ instead."},
    {"MOEPARITY_PROGRAM", "The program that another one, linked with the library, starts as a worker where "
                          "it names none itself; without it moeparity on PATH. moeparity starts itself."},
    {"CUDA_HOME", "NVRTC is looked for in its lib64/ where the loader does not find it."},
    {"SGLANG_MOE_CONFIG_DIR", "Folder with configs/triton_*/ in which tuned tiles are looked up."},
    {"VLLM_TUNED_CONFIG_FOLDER", "Folder in which tuned tiles are looked up next."},
    {"VLLM_BATCH_INVARIANT", "1: for tune which vLLM's loader looks at no file."},
    {"MOEPARITY_NO_CUDA_IPC",
     "1: tensors go through the host to programs that work on the GPU (worker:COMMAND)."},
    {"GTEST_TOTAL_SHARDS", "Into how many shards the cases are cut, of which GTEST_SHARD_INDEX is run; "
                           "GTEST_SHARD_STATUS_FILE is made then. --shard goes before it."},
    {"CUDA_VISIBLE_DEVICES", "Which GPU is the first one; empty: none."},
    {"OMP_NUM_THREADS", "Threads of each worker process."},
    {"OMP_WAIT_POLICY", "active or passive: whether the threads of a worker spin while they wait for each "
                        "other. Without it, and without GOMP_SPINCOUNT, they spin as long as it takes to "
                        "sleep and to be woken (GOMP_SPINCOUNT=3000), for on a busy machine threads that "
                        "spin keep each other from the cores. Programs that a worker starts inherit it."},
    {"OPENBLAS_CORETYPE", "The core that OpenBLAS shall take this CPU for."},
    {"GITHUB_STEP_SUMMARY", "The file that --summary appends to, where both name the same."},
    {"NO_COLOR", "Not empty: no colours, unless --color says otherwise."},
    {"FORCE_COLOR", "Not empty and not 0: colours, even where the output is no terminal."},
    {"SOURCE_DATE_EPOCH", "Seconds since 1970: the date in reports and goldens, and all durations in reports "
                          "are 0, so that two runs with the same results write the same bytes."},
};
const int mp_variable_count = sizeof mp_variables / sizeof *mp_variables;

const mp_exit_row mp_exits[] = {
    {MP_EXIT_OK, "all judged cases passed"},
    {MP_EXIT_FAILURE, "a parity failure"},
    {MP_EXIT_USAGE, "usage or bad input; nothing was run"},
    {MP_EXIT_BROKEN, "a subject crashed, hung or could not be run; or Ctrl-C without a failure before it"},
    {MP_EXIT_SKIPPED, "everything was skipped"},
};
const int mp_exit_count = sizeof mp_exits / sizeof *mp_exits;
