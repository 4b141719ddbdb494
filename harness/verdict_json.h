/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts as JSON: how they travel between processes and into reports. */
#ifndef MP_HARNESS_VERDICT_JSON_H
#define MP_HARNESS_VERDICT_JSON_H

#include "moeparity/verdict.h"

#include <jansson.h>

json_t *mp_verdict_to_json(const mp_verdict *v); /* new reference */
/* Initialises *v, and fills it; after an error it is to be freed too. MP_EINPUT names the key and what was
 * expected. */
mp_status mp_verdict_from_json(const json_t *json, mp_verdict *v, mp_error *err);
json_t *mp_run_info_to_json(const mp_run_info *info); /* new reference */
/* As mp_verdict_from_json. What no report tells is false. */
mp_status mp_run_info_from_json(const json_t *json, mp_run_info *info, mp_error *err);

#endif
