/* mp_suite_golden_cases: a golden file is listed by a worker, for libhdf5 may crash on one that was forged.
 */
#include "harness/run/link.h"
#include "harness/run/message.h"

enum { GOLDEN_SECONDS = 600 };

mp_status mp_suite_golden_cases(const char *path, bool check, const char *const *program, mp_matrix *m,
                                mp_error *err) {
    mp_link link;
    json_t *answer = NULL,
           *request = json_pack("{s:{s:o, s:b}}", "golden", "path", mp_json_path(path), "check", (int)check);
    mp_status status = mp_link_start(&link, program, request, GOLDEN_SECONDS, err);
    if (status != MP_OK) return status;
    if (!(answer = mp_link_wait(&link, path, err))) return err->status;
    const json_t *failed = json_object_get(answer, "failed"), *names = json_object_get(answer, "cases"),
                 *name;
    size_t i;
    if (failed) status = mp_json_to_failed(failed, err);
    json_array_foreach(names, i, name) {
        const char *text = json_string_value(name);
        if (status == MP_OK && m && (status = mp_matrix_add(m, text ? text : "", NULL, 0, err)) != MP_OK)
            mp_error_prefix(err, "%s", path);
    }
    if (status == MP_OK && m && m->count == 0) status = mp_fail(err, MP_EINPUT, "%s holds no case", path);
    json_decref(answer);
    mp_link_kill(&link);
    return status;
}
