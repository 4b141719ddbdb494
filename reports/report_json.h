/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_REPORTS_REPORT_JSON_H
#define MP_REPORTS_REPORT_JSON_H

#include "moeparity/verdict.h"

#include <jansson.h>

/* The report as mp_report_json writes it: a new reference, NULL where memory ran out. */
json_t *mp_report_to_json(const mp_run_info *info, const mp_verdict *verdicts, size_t count);

#endif
