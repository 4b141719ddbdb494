/* SPDX-License-Identifier: Apache-2.0 */
/* mp_suite_golden_cases: a golden file is listed by a worker, for libhdf5 may crash on one that was forged.
 */
#include "harness/run/golden_cases.h"
#include "harness/run/link.h"
#include "harness/run/message.h"
#include "moeparity/run_case.h"

#include <signal.h>

mp_status mp_suite_golden_cases(const char *path, bool check, double timeout_seconds,
                                const char *const *program, mp_texts *names, mp_error *err) {
    mp_link link;
    struct sigaction old;
    json_t *answer = NULL,
           *request = json_pack("{s:{s:o, s:b}}", "golden", "path", mp_json_path(path), "check", (int)check);
    const double seconds = timeout_seconds > 0 ? timeout_seconds : MP_TIMEOUT_SECONDS;
    /* A worker that is gone is found when it is read from. */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &old);
    mp_status status = mp_link_start(&link, program, request, seconds, err);
    if (status == MP_OK && !(answer = mp_link_wait(&link, path, err))) status = err->status;
    sigaction(SIGPIPE, &old, NULL);
    if (status != MP_OK) return status;
    const json_t *failed = json_object_get(answer, "failed"), *cases = json_object_get(answer, "cases"),
                 *name;
    size_t i;
    if (failed) status = mp_json_to_failed(failed, err);
    json_array_foreach(cases, i, name) {
        const char *text = json_string_value(name);
        if (names) mp_texts_add(names, "%s", text ? text : "");
    }
    json_decref(answer);
    mp_link_kill(&link);
    return status;
}
