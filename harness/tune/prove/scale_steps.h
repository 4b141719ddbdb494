/* SPDX-License-Identifier: Apache-2.0 */
/* Whether all terms of k meet their own scales, in the steps of k that a published kernel takes: on the CPU,
 * by numbers.
 *
 * The Triton kernels of both packages multiply a step of BLOCK_SIZE_K codes, and scale its sum by one scale
 * of each operand, that of the group in which the step begins. That is right where the group is a multiple of
 * the step. sglang runs any step, vLLM none longer than the smaller number of block_shape. Here a
 * subject computes a small case of the file's scheme in these steps, and is judged by float64 from the same
 * codes and scales, within the bounds of its contract: what a longer step does to the numbers is no opinion.
 * The kernels of this program scale at every border of groups, whatever the tile: of them it says nothing. */
#ifndef MP_HARNESS_TUNE_SCALE_STEPS_H
#define MP_HARNESS_TUNE_SCALE_STEPS_H

#include "harness/tune/prove/verify.h"

/* The steps of both GEMMs. */
typedef struct mp_scale_step {
    int64_t up, down; /* BLOCK_SIZE_K of the file */
    mp_case c;        /* what was computed: its tiles have the steps that run */
    mp_proof proof;   /* MP_PROVEN: within its bounds; MP_UNPROVEN: not computed */
    char text[768];   /* by stage: the terms that have foreign scales, the worst value, what float64 has, the
                         bound; why it was not computed */
} mp_scale_step;

typedef struct mp_scale_steps {
    const mp_loader *loader;
    mp_scale_step *step; /* each pair of steps of the plan once */
    size_t count;
} mp_scale_steps;

/* None where the scheme scales no steps. `loader`: by which the file is read. Free with mp_scale_steps_free,
 * after an error too. MP_EMEMORY. */
mp_status mp_scale_steps_find(const mp_tune_plan *plan, const mp_loader *loader, mp_scale_steps *steps,
                              mp_error *err);
/* That of the launch; NULL: its scheme scales no steps. */
const mp_scale_step *mp_scale_step_of(const mp_scale_steps *steps, const mp_launch *launch);
void mp_scale_steps_free(mp_scale_steps *steps);

/* Refutes the launches whose steps give other numbers: they are in no row then. */
void mp_tune_take_scale_steps(mp_tune_plan *plan, const mp_scale_steps *steps);

#endif
