/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity judge: traces that others have written into files. */
#include "cli/common.h"
#include "cli/judge.h"

#include "harness/run/judge_file.h"

#include <stdlib.h>
#include <string.h>

/* A row a file. Two files may hold the same case, so they are no duplicates. */
static mp_status add_file(const mp_args *args, const char *path, mp_matrix *matrix, mp_error *err) {
    char text[MP_CASE_TEXT_MAX];
    mp_status status = mp_suite_file_case(
        path, args->case_count ? args->cases[0].text : NULL, mp_args_text(args, MP_OPT_CONTRACT),
        mp_args_given(args, MP_OPT_IN_PROCESS), (double)mp_args_number(args, MP_OPT_FILE_TIMEOUT), text, err);
    if (status != MP_OK) return status;
    mp_matrix_row row = {.c = mp_case_default(), .group = strdup(path), .file = strdup(path)};
    status = mp_case_parse(&row.c, text, err);
    if (status == MP_OK && row.group && row.file) {
        matrix->rows[matrix->count++] = row;
        return MP_OK;
    }
    free(row.group);
    free(row.file);
    return status != MP_OK ? status : mp_fail(err, MP_EMEMORY, "no memory for %s", path);
}

int mp_cmd_judge(const mp_args *args) {
    mp_error err = {0};
    const size_t count = (size_t)args->operand_count;
    mp_matrix matrix = {.rows = calloc(count, sizeof *matrix.rows)};
    mp_status status = matrix.rows ? MP_OK : mp_fail(&err, MP_EMEMORY, "no memory for %zu files", count);
    for (size_t i = 0; status == MP_OK && i < count; i++)
        status = add_file(args, args->operands[i], &matrix, &err);
    const int code = status == MP_OK
                         ? mp_cli_judge(args, &(mp_cli_run){.matrix = &matrix,
                                                            .sources = (const char *const *)args->operands,
                                                            .source_count = count})
                         : mp_cli_fail(&err);
    mp_matrix_free(&matrix);
    return code;
}
