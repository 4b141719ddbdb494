/* SPDX-License-Identifier: Apache-2.0 */
/* mp_suite_golden_cases: a golden file is listed by a worker, for libhdf5 may crash on one that was forged.
 */
#include "harness/run/golden_cases.h"
#include "harness/run/ask.h"
#include "harness/wire.h"

mp_status mp_suite_golden_cases(const char *path, bool check, double timeout_seconds,
                                const char *const *program, mp_texts *names, mp_error *err) {
    const mp_suite_options how = {.settings.timeout = timeout_seconds, .program = program};
    mp_request request = {
        .message = json_pack("{s:{s:o, s:b}}", "golden", "path", mp_json_path(path), "check", (int)check),
        .answer = "cases"};
    const json_t *name;
    size_t i;
    const mp_status status = mp_ask_worker(&how, path, &request, 1, err);
    json_array_foreach(request.body, i, name) {
        const char *text = json_string_value(name);
        if (names) mp_texts_add(names, "%s", text ? text : "");
    }
    json_decref(request.body);
    return status;
}
