/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON report, for scripts and for comparing runs: docs/report.schema.json describes it.
 *
 * NaN and infinities, which JSON cannot say, are the texts "nan", "inf" and "-inf". Numbers have 17 digits:
 * they read back exactly. A later version may add keys; MP_REPORT_SCHEMA_VERSION changes when one changes its
 * meaning or goes. */
#include "base/file.h"
#include "harness/verdict_json.h"
#include "reports/report.h"
#include "reports/report_json.h"

#include <stdlib.h>
#include <string.h>

json_t *mp_report_to_json(const mp_run_info *info, const mp_verdict *verdicts, size_t count) {
    mp_tally tally = {0};
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        mp_tally_add(&tally, &verdicts[i]);
        json_array_append_new(list, mp_verdict_to_json(&verdicts[i]));
    }
    json_t *totals =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "cases", (json_int_t)tally.total, "passed",
                  (json_int_t)tally.count[MP_PASS], "failed", (json_int_t)tally.count[MP_FAIL], "skipped",
                  (json_int_t)tally.count[MP_SKIP], "crashed", (json_int_t)tally.count[MP_CRASH], "timed_out",
                  (json_int_t)tally.count[MP_TIMEOUT], "exit_code", mp_exit_code(&tally, info));
    return json_pack("{s:s, s:i, s:o, s:o, s:o}", "format", "moeparity report", "schema_version",
                     MP_REPORT_SCHEMA_VERSION, "run", mp_run_info_to_json(info), "totals", totals, "verdicts",
                     list);
}

mp_status mp_report_json(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                         mp_error *err) {
    json_t *report = mp_report_to_json(info, verdicts, count);
    char *text = report != NULL ? json_dumps(report, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    mp_status status = text != NULL
                           ? mp_file_replace(path, text, strlen(text), err)
                           : mp_fail(err, MP_EMEMORY, "no memory for the JSON report of %zu cases", count);
    free(text);
    json_decref(report);
    return status;
}
