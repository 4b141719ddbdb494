/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bisect k: the group of terms with which a grouped GEMM begins to err. */
#include "cli/bisect_row.h"
#include "cli/common.h"
#include "harness/bisect/bisect_k.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_tries(const json_t *tries, bool by_bits) {
    const json_t *t;
    size_t i;
    printf("\n  %-10s %8s  %-6s %22s %12s %10s\n", "inputs", "k", "", by_bits ? "other bits" : "beyond bound",
           "max-abs", by_bits ? "ulps" : "");
    json_array_foreach(tries, i, t) {
        char share[48], ulps[24] = "";
        const json_t *abs = json_object_get(t, "max_abs");
        snprintf(share, sizeof share, "%" PRId64 " of %" PRId64, mp_report_number(t, "differing"),
                 mp_report_number(t, "compared"));
        const int64_t apart = mp_report_number(t, "max_ulps");
        if (apart == INT64_MAX)
            snprintf(ulps, sizeof ulps, "NaN");
        else if (apart > 0)
            snprintf(ulps, sizeof ulps, "%" PRId64, apart);
        printf("  %-10s %8" PRId64 "  %-6s %22s ", mp_report_text(t, "what"), mp_report_number(t, "k"),
               mp_report_flag(t, "parts") ? "parts"
               : by_bits                  ? "equal"
                                          : "within",
               share);
        if (json_is_string(abs))
            printf("%12s %10s\n", json_string_value(abs), ulps);
        else
            printf("%12.3g %10s\n", json_number_value(abs), ulps);
    }
    putchar('\n');
}

static void print_vanishing(const json_t *end) {
    const json_t *gone = json_object_get(end, "vanishes_at"), *k;
    size_t i;
    enum { FEW = 12 };
    if (json_array_size(gone) == 0) return;
    printf("         it vanishes again where more terms are left, %s",
           json_array_size(gone) == 1 ? "k =" : "of k =");
    json_array_foreach(gone, i, k) if (i < FEW) printf(" %" PRId64, (int64_t)json_integer_value(k));
    printf("%s\n", json_array_size(gone) > FEW ? " ..." : "");
}

/* The shortest sum that parts, from one end or the other. */
static void print_end(const json_t *report, const char *name) {
    const json_t *end = json_object_get(report, name);
    const int64_t block = mp_report_number(report, "block_size_k"), from = mp_report_number(end, "from"),
                  terms = mp_report_number(report, "terms");
    if (!end || mp_report_number(end, "group") == 0) return;
    if (strcmp(name, "first") == 0)
        printf("first    sums from k=0 on");
    else
        printf("last     sums up to k=%" PRId64, terms - 1);
    printf(" part as soon as they hold group %" PRId64 ", k %" PRId64 "..%" PRId64,
           mp_report_number(end, "group"), from, mp_report_number(end, "to") - 1);
    if (block > 0) printf(" (block %" PRId64 " of BLOCK_SIZE_K=%" PRId64 ")", from / block + 1, block);
    putchar('\n');
    print_vanishing(end);
}

static void print_report(const json_t *report, bool verbose) {
    const json_t *first = json_object_get(report, "first");
    const char *by = mp_report_text(report, "judged_by"), *seen = mp_report_text(report, "seen_in");
    const bool by_bits = strcmp(by, "bits") == 0, hidden = strcmp(seen, mp_report_text(report, "stage")) != 0;
    const int64_t runs = mp_report_number(report, "runs"), search = mp_report_number(report, "search_runs");
    printf("sums     %s: %" PRId64 " terms, in %" PRId64 " groups of %" PRId64 " (%s); zeroed in %s\n",
           mp_report_text(report, "stage"), mp_report_number(report, "terms"),
           mp_report_number(report, "groups"), mp_report_number(report, "group"),
           mp_report_text(report, "group_from"), mp_report_text(report, "tensor"));
    printf("judged   by %s of %s%s\n", by_bits ? "the predicted bits" : "the bounds", seen,
           hidden ? ", for the subject does not show what is summed" : "");
    if (verbose) print_tries(json_object_get(report, "tries"), by_bits);
    printf("runs     %" PRId64 ": %" PRId64 " to find it, %" PRId64 " to tell its kind\n", runs, search,
           runs - search);
    print_end(report, "first");
    print_end(report, "last");
    mp_cli_say(stdout, "found    %s", mp_report_text(report, "conclusion"));
    if (!mp_report_flag(report, "found")) return;
    mp_cli_say(stdout, "where    %s", mp_report_text(first, "where"));
    if (json_is_null(json_object_get(first, "monotone")))
        printf("         (sums between the tried ones were not looked at: --exhaustive tries all)\n");
    mp_cli_say(stdout, "repro    %s", mp_report_text(first, "repro"));
}

int mp_cmd_bisect_k(const mp_args *args) {
    const char *stage = mp_args_text(args, MP_OPT_GEMM);
    mp_k_question question = {.stage = !stage                       ? -1
                                       : strcmp(stage, "down") == 0 ? MP_DOWN
                                                                    : MP_GATE_UP,
                              .weights = mp_args_given(args, MP_OPT_WEIGHTS),
                              .group =
                                  mp_args_given(args, MP_OPT_GROUP) ? mp_args_number(args, MP_OPT_GROUP) : 0,
                              .exhaustive = mp_args_given(args, MP_OPT_EXHAUSTIVE)};
    mp_bisect_row b;
    mp_error err = {0};
    json_t *report = NULL;
    mp_status status = mp_bisect_row_open(args, "k", &b, &err);
    if (status == MP_OK) status = mp_bisect_k(&b.what.rows, &question, &b.how, &b.info, &report, &err);
    const int code = mp_bisect_row_end(&b, status, report, print_report, &err);
    json_decref(report);
    mp_bisect_row_close(&b);
    return code;
}
