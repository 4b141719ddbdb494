/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: an engine's figures of the final output, made again by the CPU. */
#ifndef MP_HARNESS_CHECK_TOKENS_H
#define MP_HARNESS_CHECK_TOKENS_H

#include "harness/judge/judge_stage.h"
#include "ref/token_figures.h"

/* figures [M], those of an engine's end_to_end, and bounds [M] where activations are quantised, else NULL. Of
 * some tokens the CPU computes the float64 values as well, and what they may differ by; and their balls.
 * MP_EDEVICE where figures are further apart than that, MP_EUNSUPPORTED where nothing is known of how far
 * they may be: figures that were compared with nothing are not to be shown. */
mp_status mp_check_tokens(const mp_judgement *j, const mp_token_figures *figures,
                          const mp_bound_figures *bounds, mp_error *err);

#endif
