/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/golden.h"

#include "base/file.h"
#include "cli/find.h"
#include "harness/run/golden_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_SECONDS = 600 };

mp_status mp_cli_open_golden(const char *name, mp_golden **golden, mp_error *err) {
    char *path = mp_find(MP_SUPPLY_GOLDEN, name);
    mp_status status = path ? mp_suite_golden_cases(path, true, READ_SECONDS, NULL, NULL, err)
                            : mp_fail(err, MP_EMEMORY, "no memory for a path");
    if (status == MP_OK) status = mp_golden_open(path, golden, err);
    free(path);
    return status;
}

void mp_cli_print_line(void *ctx, const char *line) {
    (void)ctx;
    puts(line);
}

mp_status mp_cli_write_json(const char *path, json_t *json, mp_error *err) {
    if (!path) {
        json_decref(json);
        return MP_OK;
    }
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}
