/* SPDX-License-Identifier: Apache-2.0 */
/* What a tuned file is for: what its name says, and the cases that run under it. */
#ifndef MP_HARNESS_TUNE_TARGET_H
#define MP_HARNESS_TUNE_TARGET_H

#include "kernels/loader.h"
#include "kernels/tuned.h"
#include "kernels/variants.h"

#include <limits.h>

typedef struct mp_tune_target {
    char path[PATH_MAX],
        down_path[PATH_MAX];        /* down_path: the `_down` file beside it, "" where there is none */
    const mp_tuned_file *up, *down; /* down: NULL where the one table serves both GEMMs */
    int64_t E, N;
    char device[MP_DEVICE_NAME_MAX +
                1];  /* "NVIDIA H100 80GB HBM3", with blanks; "" where the name leaves it empty */
    char dtype[112]; /* as the name has it: "fp8_w8a8 block_shape=[128,128]"; "" for bf16 and fp16 */
    mp_case base; /* E, N, dtype, quant of the name; K, topk and the rest of the model or of what was said */
    char model[96]; /* whose shape it is: "Qwen3-30B-A3B", "given by --with", "no published model: ..." */
    mp_device_limits limits; /* of the device; architecture 0: this program does not know it */
    bool runs;               /* there are cases of this dtype, and base is one */
} mp_tune_target;

/* Reads the name, the file and its `_down` file; of that file itself, the one that it stands beside.
 * MP_EINPUT says what the name lacks; and all that mp_tuned_load says of a file. */
mp_status mp_tune_target_read(const char *path, mp_tune_target *target, mp_error *err);

/* The shapes to run: K, topk and the options of the published models that have this E and N, or N on several
 * shards; of `model` alone where one is named; defaults where there is none; then `with`, "K=2048 topk=8",
 * over each. shapes[i] are targets like *target but for base and model; at most MP_TUNE_SHAPES_MAX. */
enum { MP_TUNE_SHAPES_MAX = 8 };
mp_status mp_tune_shapes(const mp_tune_target *target, const char *model, const char *with,
                         mp_tune_target *shapes, int *count, mp_error *err);

#endif
