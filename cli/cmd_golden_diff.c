/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity golden diff. */
#include "cli/common.h"
#include "cli/golden.h"

#include "harness/goldens/diff_text.h"

/* Where the comparison goes. */
typedef struct output {
    const char *a, *b;
    json_t *cases; /* NULL: none is written */
} output;

static mp_status visit(void *ctx, const mp_case_diff *d, mp_error *err) {
    const output *o = ctx;
    if (o->cases) json_array_append_new(o->cases, mp_case_diff_json(d));
    return mp_case_diff_text(d, o->a, o->b, mp_cli_print_line, NULL, err);
}

static mp_status write_json(const char *path, mp_golden *const file[2], output *o,
                            const mp_diff_counts *counts, mp_error *err) {
    if (!path) return MP_OK;
    json_t *json =
        json_pack("{s:s, s:b, s:o, s:o, s:o, s:O}", "format", "moeparity golden diff", "equal",
                  (int)mp_diff_is_equal(counts), "a", mp_golden_json(file[0]), "b", mp_golden_json(file[1]),
                  "counts", mp_diff_counts_json(counts), "cases", o->cases);
    return mp_cli_write_json(path, json, err);
}

static mp_status tell_all(mp_golden *const file[2], const mp_args *args, const mp_align_rules *rules,
                          bool *equal, mp_error *err) {
    const char *json = mp_args_text(args, MP_OPT_JSON);
    output o = {mp_golden_path(file[0]), mp_golden_path(file[1]), json ? json_array() : NULL};
    mp_diff_counts counts;
    if (mp_golden_fill_version(file[0]) != mp_golden_fill_version(file[1]))
        printf("fill_version: %d -> %d\n", mp_golden_fill_version(file[0]), mp_golden_fill_version(file[1]));
    mp_status status = mp_goldens_diff(file[0], file[1], rules, visit, &o, &counts, err);
    *equal = status == MP_OK && mp_diff_is_equal(&counts);
    if (*equal) puts("equal");
    if (status == MP_OK && counts.differing > 0) puts(mp_diff_legend);
    if (status == MP_OK) status = mp_diff_counts_text(&counts, o.a, o.b, mp_cli_print_line, NULL, err);
    if (status == MP_OK) status = write_json(json, file, &o, &counts, err);
    json_decref(o.cases);
    return status;
}

int mp_cmd_golden_diff(const mp_args *args) {
    mp_golden *file[2] = {NULL, NULL};
    mp_error err = {0};
    const mp_align_rules rules = {.ignore = mp_args_text(args, MP_OPT_IGNORE),
                                  .map = mp_args_text(args, MP_OPT_MAP)};
    bool equal = false;
    mp_status status =
        mp_cli_output(mp_args_text(args, MP_OPT_JSON), (const char *const *)args->operands, 2, &err);
    for (int i = 0; i < 2 && status == MP_OK; i++)
        status = mp_cli_open_golden(args->operands[i], &file[i], &err);
    if (status == MP_OK) status = tell_all(file, args, &rules, &equal, &err);
    mp_golden_close(file[0]);
    mp_golden_close(file[1]);
    if (status != MP_OK) return mp_cli_fail(&err);
    return equal ? MP_EXIT_OK : MP_EXIT_FAILURE;
}
