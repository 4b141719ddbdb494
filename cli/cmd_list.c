/* moeparity list: names, one a line. */
#include "cli/common.h"

#include <getopt.h>
#include <stdio.h>

static const char help[] =
    "usage: moeparity list MATRIX... [--match EXPR] [--tier smoke|ci|full] [--pairs]\n";

int mp_cmd_list(int argc, char **argv) {
    enum { MATCH = 1, TIER, PAIRS, HELP };
    static const struct option options[] = {
        {"match", 1, 0, MATCH}, {"tier", 1, 0, TIER}, {"pairs", 0, 0, PAIRS}, {"help", 0, 0, HELP}, {0}};
    mp_cli_selection selection = {0};
    bool pairs = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (o) {
        case MATCH: selection.match = optarg; break;
        case TIER: selection.tier = optarg; break;
        case PAIRS: pairs = true; break;
        case HELP: fputs(help, stdout); return MP_EXIT_OK;
        default: fputs(help, stderr); return MP_EXIT_USAGE;
        }
    mp_matrix matrix = {0};
    mp_error err = {0};
    const mp_status status = mp_cli_matrix(&selection, argv + optind, argc - optind, &matrix, &err);
    for (size_t i = 0; status == MP_OK && i < matrix.count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix.rows[i].c, name, sizeof name);
        puts(name);
        for (size_t p = 0; pairs && p < matrix.rows[i].pair_count; p++)
            printf("    = %s\n", matrix.rows[i].pair_text[p]);
    }
    mp_matrix_free(&matrix);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}
