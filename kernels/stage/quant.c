/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act: there is no kernel yet, the device refuses cases that have them. */
#include "kernels/stage/stage.h"

const mp_device_stage mp_device_quant_x = {NULL, NULL}, mp_device_quant_act = {NULL, NULL};
