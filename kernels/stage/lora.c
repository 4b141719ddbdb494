/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA's stages have no kernels yet: they cannot run on the device. */
#include "kernels/stage/stage.h"

const mp_device_stage mp_device_shrink_gate_up = {NULL, NULL};
const mp_device_stage mp_device_expand_gate_up = {NULL, NULL};
const mp_device_stage mp_device_shrink_down = {NULL, NULL};
const mp_device_stage mp_device_expand_down = {NULL, NULL};
