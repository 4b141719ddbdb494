/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity list: names, one a line; or all of them as JSON. */
#include "cli/common.h"
#include "cli/find.h"
#include "cli/shard.h"

#include "base/file.h"
#include "cases/case_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static json_t *row_to_json(const mp_matrix_row *row) {
    char name[MP_CASE_TEXT_MAX];
    json_t *pairs = json_array(), *afters = json_array();
    mp_case_text(&row->c, name, sizeof name);
    for (size_t i = 0; i < row->pair_count; i++) json_array_append_new(pairs, json_string(row->pair_text[i]));
    for (size_t i = 0; i < row->after_count; i++)
        json_array_append_new(afters, json_string(row->after_text[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "name", name, "group", row->group ? row->group : "",
                     "tier", mp_tier_name(row->tier), "pairs", pairs, "after", afters, "fields",
                     mp_case_json(&row->c));
}

static mp_status write_json(const mp_matrix *matrix, const char *path, mp_error *err) {
    json_t *cases = json_array();
    for (size_t i = 0; i < matrix->count; i++) json_array_append_new(cases, row_to_json(&matrix->rows[i]));
    json_t *all = json_pack("{s:s, s:o}", "format", "moeparity cases", "cases", cases);
    char *text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the cases as JSON");
    free(text);
    json_decref(all);
    return status;
}

static void print_rows(const mp_matrix *matrix, bool pairs) {
    for (size_t i = 0; i < matrix->count; i++) {
        const mp_matrix_row *row = &matrix->rows[i];
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&row->c, name, sizeof name);
        puts(name);
        for (size_t p = 0; pairs && p < row->pair_count; p++) printf("    = %s\n", row->pair_text[p]);
        for (size_t p = 0; pairs && p < row->after_count; p++) printf("    after %s\n", row->after_text[p]);
    }
}

int mp_cmd_list(const mp_args *args) {
    mp_matrix matrix = {0};
    mp_share share = {0};
    mp_paths paths;
    mp_error err = {0};
    const char *json = mp_args_text(args, MP_OPT_JSON);
    if (mp_args_given(args, MP_OPT_MATRICES) && args->operand_count > 0)
        return mp_cli_usage("--matrices lists what is found by name: expected no matrix beside it");
    if (mp_args_given(args, MP_OPT_MATRICES))
        return json ? mp_cli_usage("--json lists cases, and --matrices has none") : list_supplies();
    mp_status status = mp_paths_find(&paths, args->operands, args->operand_count, &err);
    if (status == MP_OK) status = mp_cli_output(json, (const char *const *)paths.path, paths.count, &err);
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &matrix, &err);
    if (status == MP_OK) status = mp_cli_share(args, &matrix, stderr, &share, &err);
    if (status == MP_OK && json)
        status = write_json(&share.matrix, json, &err);
    else if (status == MP_OK)
        print_rows(&share.matrix, mp_args_given(args, MP_OPT_PAIRS));
    mp_share_free(&share);
    mp_paths_free(&paths);
    mp_matrix_free(&matrix);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
