/* SPDX-License-Identifier: Apache-2.0 */
/* An inference in a worker process, so that a subject that crashes or hangs takes nothing with it. */
#ifndef MP_HARNESS_INFER_RUN_H
#define MP_HARNESS_INFER_RUN_H

#include "harness/infer/infer.h"
#include "moeparity/suite.h"

/* mp_infer with the subject of options->settings, in a worker under the watchdog (settings.timeout seconds to
 * start, and as many for all of it), or, with options->in_process, here. Of the settings subject, device,
 * triton, config, threads and timeout count; options->phase is called. Fills subject, device and versions of
 * *info. MP_EDEVICE also where the worker dies or is too late, with what it was at. */
mp_status mp_infer_run(const mp_matrix *cases, const mp_suite_options *options, const mp_infer_options *infer,
                       mp_run_info *info, json_t **report, mp_error *err);

/* {"infer": {...}}: the request, and what came with it. */
json_t *mp_json_infer(const mp_infer_options *options);
mp_status mp_json_to_infer(const json_t *json, mp_infer_options *options, mp_error *err);

#endif
