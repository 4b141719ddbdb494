/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity run: the cases of matrices, or of the command line. */
#include "cli/common.h"
#include "cli/find.h"
#include "cli/judge.h"

#include <stdlib.h>

int mp_cli_run_cases(const mp_args *args,
                     void (*judged)(void *ctx, const mp_verdict *verdicts, size_t count,
                                    const mp_run_info *info),
                     void *ctx) {
    const char *named = mp_args_text(args, MP_OPT_GOLDEN);
    mp_matrix matrix = {0};
    mp_paths paths;
    mp_error err = {0};
    int code = MP_EXIT_USAGE;
    char *golden = named ? mp_find(MP_SUPPLY_GOLDEN, named) : NULL;
    mp_status status = mp_paths_find(&paths, args->operands, args->operand_count, &err);
    if (status == MP_OK && named && !golden) status = mp_fail(&err, MP_EMEMORY, "no memory for a path");
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &matrix, &err);
    if (status == MP_OK)
        code = mp_cli_judge(args, &(mp_cli_run){.matrix = &matrix,
                                                .golden = golden,
                                                .sources = (const char *const *)paths.path,
                                                .source_count = paths.count,
                                                .judged = judged,
                                                .ctx = ctx});
    else
        code = mp_cli_fail(&err);
    free(golden);
    mp_paths_free(&paths);
    mp_matrix_free(&matrix);
    return code;
}

int mp_cmd_run(const mp_args *args) {
    return mp_cli_run_cases(args, NULL, NULL);
}
