/* SPDX-License-Identifier: Apache-2.0 */
/* Stored reports: refused with a reason, or as many verdicts as the totals say. */
#include "fuzz/fuzz.h"

#include "reports/stored.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_stored_report report;
    mp_error err = {0};
    json_t *json;
    const mp_status status = mp_stored_report_parse((const char *)data, size, &report, &json, &err);
    fuzz_require_told(status, &err);
    fuzz_require((json != NULL) == (status == MP_OK), "the text is kept of what was read", &err);
    if (status == MP_OK)
        fuzz_require(json_array_size(json_object_get(json, "verdicts")) == report.count, "all verdicts",
                     &err);
    mp_stored_report_free(&report);
    json_decref(json);
    return 0;
}
