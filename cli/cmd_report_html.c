/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity report html: a page of one JSON report, or of two that are compared. */
#include "cli/common.h"
#include "reports/page.h"
#include "reports/stored.h"

#include <string.h>

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int mp_cmd_report_html(const mp_args *args) {
    const char *out = args->operands[0];
    const char *const *files = (const char *const *)args->operands + 1;
    const int count = args->operand_count - 1;
    mp_page_report reports[2];
    json_t *json[2] = {NULL, NULL};
    mp_error err = {0};
    mp_status status = mp_cli_output(out, files, (size_t)count, &err);
    for (int i = 0; i < count && status == MP_OK; i++) {
        mp_stored_report stored;
        status = mp_stored_report_load(files[i], &stored, &json[i], &err);
        mp_stored_report_free(&stored);
        reports[i] = (mp_page_report){file_name(files[i]), json[i]};
    }
    if (status == MP_OK) status = mp_cli_first_output(out, MP_BEGINS_HTML, "page", &err);
    if (status == MP_OK) status = mp_report_page(out, reports, count, &err);
    for (int i = 0; i < count; i++) json_decref(json[i]);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
