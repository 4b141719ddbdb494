/* SPDX-License-Identifier: Apache-2.0 */
/* Case texts: what is accepted has a canonical text that gives the same case again, and that is its own
 * canonical text; what is refused is refused with a reason. */
#include "fuzz/fuzz.h"

#include "cases/case_json.h"
#include "cases/case_tools.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), name[MP_CASE_TEXT_MAX], again[MP_CASE_TEXT_MAX];
    mp_case c = mp_case_default(), parsed = mp_case_default();
    mp_error err = {0};
    const mp_status status = mp_case_parse(&c, text, &err);
    fuzz_require_told(status, &err);
    if (status == MP_OK) {
        mp_case_text(&c, name, sizeof name);
        fuzz_require(mp_case_parse(&parsed, name, &err) == MP_OK, "a canonical text is a case", &err);
        fuzz_require(mp_case_compare(&c, &parsed) == 0, "a canonical text is the same case", &err);
        mp_case_text(&parsed, again, sizeof again);
        fuzz_require(!strcmp(name, again), "a canonical text is canonical", &err);
        json_decref(mp_case_json(&c));
    }
    free(text);
    return 0;
}
