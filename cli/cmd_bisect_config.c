/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bisect config: the keys of a tile that make a case fail. */
#include "cli/bisect_row.h"
#include "cli/common.h"
#include "harness/bisect/bisect_config.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

/* "BLOCK_SIZE_K, num_warps" */
static void add_names(const json_t *names, mp_text *text) {
    const json_t *name;
    size_t i;
    json_array_foreach(names, i, name) mp_text_add(text, "%s%s", i ? ", " : "", json_string_value(name));
}

static void print_names(const char *title, const json_t *names) {
    mp_text text = {0};
    if (json_array_size(names) == 0) return;
    add_names(names, &text);
    mp_cli_say(stdout, "%-8s %s", title, mp_text_get(&text));
    mp_text_free(&text);
}

static void print_tries(const json_t *tries) {
    const json_t *t;
    size_t i;
    printf("\n  %-12s %-16s bad keys in the good tile\n", "try", "answer");
    json_array_foreach(tries, i, t) {
        mp_text text = {0};
        const char *reason = mp_report_text(t, "reason");
        add_names(json_object_get(t, "bad_keys"), &text);
        mp_cli_say(stdout, "  %-12s %-16s %s%s%.160s", mp_report_text(t, "what"), mp_report_text(t, "answer"),
                   text.length ? mp_text_get(&text) : "none", *reason ? "  -- " : "", reason);
        mp_text_free(&text);
    }
    putchar('\n');
}

static void print_report(const json_t *report, bool verbose) {
    const json_t *keys = json_object_get(report, "keys"), *tries = json_object_get(report, "tries"), *item;
    const int64_t cannot = mp_report_number(report, "cannot_run");
    size_t i;
    printf("keys    ");
    json_array_foreach(keys, i, item)
        printf("%s %s %" PRId64 " -> %" PRId64, i ? "," : "", mp_report_text(item, "key"),
               mp_report_number(item, "good"), mp_report_number(item, "bad"));
    putchar('\n');
    if (verbose) print_tries(tries);
    printf("runs     %" PRId64, mp_report_number(report, "runs"));
    if (cannot) printf(", %" PRId64 " of them with a tile that cannot run, which counts neither way", cannot);
    putchar('\n');
    if (mp_report_flag(report, "found")) {
        mp_cli_say(stdout, "fails    %s", mp_report_text(report, "reason"));
        print_names("alone", json_object_get(report, "alone"));
        json_array_foreach(json_object_get(report, "together"), i, item) print_names("together", item);
        print_names("least", json_object_get(report, "least"));
        if (!mp_report_flag(report, "pairs_tried"))
            printf("         (so many keys were not tried in pairs)\n");
    }
    mp_cli_say(stdout, "found    %s", mp_report_text(report, "conclusion"));
    if (mp_report_flag(report, "found")) mp_cli_say(stdout, "repro    %s", mp_report_text(report, "repro"));
}

int mp_cmd_bisect_config(const mp_args *args) {
    mp_bisect_row b;
    mp_error err = {0};
    mp_tile_pair good, bad;
    json_t *report = NULL;
    mp_status status = mp_bisect_row_open(args, "config", &b, &err);
    const mp_case *c = status == MP_OK ? &b.what.rows.rows[0].c : NULL;
    if (status == MP_OK) status = mp_tile_pair_parse(mp_args_text(args, MP_OPT_GOOD), c, &good, &err);
    if (status != MP_OK && c) mp_error_prefix(&err, "--good");
    const bool good_read = status == MP_OK;
    if (status == MP_OK) status = mp_tile_pair_parse(mp_args_text(args, MP_OPT_BAD), c, &bad, &err);
    if (status != MP_OK && good_read) mp_error_prefix(&err, "--bad");
    if (status == MP_OK) status = mp_bisect_config(&b.what.rows, &good, &bad, &b.how, &b.info, &report, &err);
    const int code = mp_bisect_row_end(&b, status, report, print_report, &err);
    json_decref(report);
    mp_bisect_row_close(&b);
    return code;
}
