/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity list: names, one a line. */
#include "cli/common.h"
#include "cli/find.h"

#include <stdio.h>

static void print_line(void *ctx, const char *text) {
    (void)ctx;
    puts(text);
}

/* What is found by its name. */
static int list_supplies(void) {
    mp_error err = {0};
    int matrices = 0, goldens = 0;
    if (mp_find_all(MP_SUPPLY_MATRIX, print_line, NULL, &matrices, &err) != MP_OK ||
        mp_find_all(MP_SUPPLY_GOLDEN, print_line, NULL, &goldens, &err) != MP_OK)
        return mp_cli_fail(&err);
    if (matrices + goldens == 0)
        fprintf(stderr, "moeparity: no matrices beside this program: they are found by their paths alone\n");
    return MP_EXIT_OK;
}

int mp_cmd_list(const mp_args *args) {
    mp_matrix matrix = {0};
    mp_paths paths;
    mp_error err = {0};
    if (mp_args_given(args, MP_OPT_MATRICES)) return list_supplies();
    mp_status status = mp_paths_find(&paths, args->operands, args->operand_count, &err);
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &matrix, &err);
    for (size_t i = 0; status == MP_OK && i < matrix.count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix.rows[i].c, name, sizeof name);
        puts(name);
        for (size_t p = 0; mp_args_given(args, MP_OPT_PAIRS) && p < matrix.rows[i].pair_count; p++)
            printf("    = %s\n", matrix.rows[i].pair_text[p]);
    }
    mp_paths_free(&paths);
    mp_matrix_free(&matrix);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
