/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts as JSON, which come from another process: refused with a reason, or a verdict that gives the same
 * JSON when it goes round once more. */
#include "fuzz/fuzz.h"

#include "harness/verdict_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_verdict v, again;
    mp_error err = {0};
    json_t *json = json_loadb((const char *)data, size, 0, NULL), *first = NULL, *second = NULL;
    if (!json) return 0;
    mp_verdict_init(&again);
    const mp_status status = mp_verdict_from_json(json, &v, &err);
    fuzz_require_told(status, &err);
    if (status == MP_OK) {
        (void)mp_verdict_worst_stage(&v);
        first = mp_verdict_to_json(&v);
        fuzz_require(first != NULL, "a verdict becomes JSON", &err);
        fuzz_require(mp_verdict_from_json(first, &again, &err) == MP_OK, "that JSON is a verdict", &err);
        second = mp_verdict_to_json(&again);
        fuzz_require(json_equal(first, second) == 1, "the same verdict", &err);
    }
    mp_verdict_free(&v);
    mp_verdict_free(&again);
    json_decref(json);
    json_decref(first);
    json_decref(second);
    return 0;
}
