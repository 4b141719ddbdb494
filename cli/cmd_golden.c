/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity golden record | verify | ls. */
#include "cli/common.h"
#include "cli/find.h"
#include "cli/golden.h"
#include "cli/judge.h"

#include "golden/files.h"
#include "harness/run/golden_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mp_cmd_golden_record(const mp_args *args) {
    mp_record_options record = {.path = args->operands[0],
                                .digest_above = (size_t)mp_args_number(args, MP_OPT_DIGEST_ABOVE),
                                .inputs = mp_args_given(args, MP_OPT_INPUTS)};
    mp_matrix matrix = {0};
    mp_paths paths;
    mp_error err = {0};
    mp_status status = mp_paths_find(&paths, args->operands + 1, args->operand_count - 1, &err);
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &matrix, &err);
    if (status == MP_OK) status = mp_cli_first_output(record.path, MP_BEGINS_HDF5, "golden file", &err);
    const int code = status == MP_OK
                         ? mp_cli_judge(args, &(mp_cli_run){.matrix = &matrix,
                                                            .sources = (const char *const *)paths.path,
                                                            .source_count = paths.count,
                                                            .record = &record})
                         : mp_cli_fail(&err);
    mp_paths_free(&paths);
    mp_matrix_free(&matrix);
    return code;
}

static bool is_among(const mp_texts *names, const char *name) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->text[i], name) == 0) return true;
    return false;
}

/* The cases that the file holds: those of --case, else all, as far as --match leaves them. */
static mp_status matrix_of_golden(const mp_args *args, const char *path, mp_matrix *matrix, mp_error *err) {
    mp_texts names = {0};
    mp_status status =
        mp_suite_golden_cases(path, false, (double)mp_args_number(args, MP_OPT_TIMEOUT), NULL, &names, err);
    if (status == MP_OK && names.count == 0) status = mp_fail(err, MP_EINPUT, "%s holds no case", path);
    for (size_t i = 0; status == MP_OK && args->case_count == 0 && i < names.count; i++)
        if ((status = mp_matrix_add(matrix, names.text[i], NULL, 0, err)) != MP_OK)
            mp_error_prefix(err, "%s", path);
    for (size_t i = 0; status == MP_OK && i < args->case_count; i++)
        status = mp_matrix_add(matrix, args->cases[i].text, NULL, 0, err);
    for (size_t i = 0; status == MP_OK && args->case_count > 0 && i < matrix->count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix->rows[i].c, name, sizeof name);
        if (!is_among(&names, name))
            status = mp_fail(err, MP_EINPUT, "%s does not hold the case '%s'", path, name);
    }
    mp_texts_free(&names);
    const char *match = mp_args_text(args, MP_OPT_MATCH);
    return status == MP_OK && match ? mp_matrix_select(matrix, MP_FULL, match, err) : status;
}

int mp_cmd_golden_verify(const mp_args *args) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    char *path = mp_find(MP_SUPPLY_GOLDEN, args->operands[0]);
    const mp_status status = path ? matrix_of_golden(args, path, &matrix, &err)
                                  : mp_fail(&err, MP_EMEMORY, "no memory for a path");
    const int code =
        status == MP_OK
            ? mp_cli_judge(args, &(mp_cli_run){.matrix = &matrix, .golden = path, .golden_required = true})
            : mp_cli_fail(&err);
    free(path);
    mp_matrix_free(&matrix);
    return code;
}

int mp_cmd_golden_ls(const mp_args *args) {
    mp_golden *golden = NULL;
    mp_error err = {0};
    mp_status status = mp_cli_open_golden(args->operands[0], &golden, &err);
    if (status == MP_OK) {
        const mp_provenance *who = mp_golden_provenance(golden);
        printf("made by moeparity %s (%s), subject %s on %s %s, %s, origin %s, fill %d\n", who->version,
               who->commit, who->subject, who->device, who->versions, who->date, who->origin,
               mp_golden_fill_version(golden));
        uint64_t root;
        if (mp_golden_root(golden, &root)) printf("root %016llx\n", (unsigned long long)root);
        status = mp_golden_list(golden, mp_cli_print_line, NULL, &err);
    }
    mp_golden_close(golden);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
