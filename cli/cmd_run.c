/* moeparity run: parse -> matrix -> suite -> table, JSON, JUnit. */
#include "cli/common.h"

#include "base/clock.h"
#include "harness/run/run_case.h"
#include "harness/run/suite.h"
#include "reports/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: moeparity run MATRIX... [option ...]\n"
    "       moeparity run --case 'M=32 topk=2 act=silu' [--pair 'path=runner']... [option ...]\n"
    "  --subject S     ref, host, cuda, or auto (cuda where a GPU is found, else host)   [auto]\n"
    "  --against S2    compare every case with a second subject as well\n"
    "  --match EXPR    only cases that match: 'dtype=bf16 M>64 act!=gelu', or words of the name\n"
    "  --tier T        smoke, ci or full   [ci]\n"
    "  --golden FILE   compare with stored traces\n"
    "  --repeat N      runs of each case that must agree bit for bit   [2]\n"
    "  --jobs N        worker processes   [1]\n"
    "  --timeout S     seconds before a case counts as hung   [600]\n"
    "  --plain         judge with plain loops instead of OpenBLAS\n"
    "  --in-process    no worker processes, no watchdog: for debuggers and memory checkers. No parent "
    "survives a\n"
    "                  crash then: `case i/n: <repro>` goes to stderr before each case, unless that is a "
    "terminal\n"
    "  --json FILE     write the verdicts as JSON\n"
    "  --junit FILE    write the verdicts as JUnit XML\n";

struct progress {
    const mp_matrix *matrix;
    const mp_suite_options *suite;
    const mp_run_info *info; /* says which subject "auto" came to */
    int name_width;
    size_t done, running; /* rows finished; the one handed out last */
    bool terminal, color;
    double start;
};

/* How to run the case again, said before it runs: of a process that dies of it nothing else is left. */
static void announce(const struct progress *p, size_t index) {
    mp_subject subject = {.name = p->info->subject[0] ? p->info->subject : p->suite->subject},
               against = {.name = p->suite->against};
    const mp_run_options options = {.subject = &subject,
                                    .against = p->suite->against ? &against : NULL,
                                    .golden_path = p->suite->golden_path,
                                    .repeat = p->suite->repeat,
                                    .plain = p->suite->plain};
    mp_text repro = {0};
    mp_repro(&p->matrix->rows[index], &options, &repro);
    fprintf(stderr, "case %zu/%zu: %s\n", index + 1, p->matrix->count, mp_text_get(&repro));
    mp_text_free(&repro);
    fflush(stderr);
}

/* On a terminal a status line on stderr says which case runs; the rows go to stdout as they come. A worker's
 * crash is told by this process, with the repro; where there is no worker, the repro comes first. */
static void on_progress(void *ctx, size_t index, const mp_verdict *v) {
    struct progress *p = ctx;
    if (p->terminal) fprintf(stderr, "\r\033[K");
    if (v) {
        p->done++;
        mp_report_row(stdout, v, p->name_width, p->color);
        fflush(stdout);
    }
    if (!v && !p->terminal && p->suite->in_process) announce(p, index);
    if (!p->terminal || p->done == p->matrix->count) return;
    if (!v) p->running = index;
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(&p->matrix->rows[p->running].c, name, sizeof name);
    const double elapsed = mp_seconds_now() - p->start;
    const double eta = p->done > 0 ? elapsed / (double)p->done * (double)(p->matrix->count - p->done) : 0;
    fprintf(stderr, "[%zu/%zu] %.90s  %.0f s left", p->done, p->matrix->count, name, eta);
    fflush(stderr);
}

/* On a terminal that can, unless the user wants none (no-color.org). */
static bool colors_wanted(void) {
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(none && *none) && terminal && strcmp(terminal, "dumb") != 0;
}

static int widest_name(const mp_matrix *matrix) {
    size_t widest = 0;
    char name[MP_CASE_TEXT_MAX];
    for (size_t i = 0; i < matrix->count; i++) {
        const size_t length = mp_case_text(&matrix->rows[i].c, name, sizeof name);
        if (length > widest) widest = length;
    }
    return widest < 60 ? (int)widest : 60;
}

int mp_cmd_run(int argc, char **argv) {
    enum {
        CASE = 1,
        PAIR,
        SUBJECT,
        AGAINST,
        MATCH,
        TIER,
        GOLDEN,
        REPEAT,
        JOBS,
        TIMEOUT,
        PLAIN,
        IN_PROCESS,
        JSON,
        JUNIT,
        HELP
    };
    static const struct option options[] = {{"case", 1, 0, CASE},       {"pair", 1, 0, PAIR},
                                            {"subject", 1, 0, SUBJECT}, {"against", 1, 0, AGAINST},
                                            {"match", 1, 0, MATCH},     {"tier", 1, 0, TIER},
                                            {"golden", 1, 0, GOLDEN},   {"repeat", 1, 0, REPEAT},
                                            {"jobs", 1, 0, JOBS},       {"timeout", 1, 0, TIMEOUT},
                                            {"plain", 0, 0, PLAIN},     {"in-process", 0, 0, IN_PROCESS},
                                            {"json", 1, 0, JSON},       {"junit", 1, 0, JUNIT},
                                            {"help", 0, 0, HELP},       {0}};
    mp_cli_selection selection = {.takes_case = true};
    mp_suite_options suite = {.subject = "auto"};
    const char *json = NULL, *junit = NULL;
    int64_t repeat = 2, jobs = 1, timeout = 600;
    mp_error err = {0};
    mp_status status = MP_OK;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1 && status == MP_OK;) switch (o) {
        case CASE: selection.case_text = optarg; break;
        case PAIR:
            if (selection.pair_count == MP_MATRIX_MAX_PAIRS)
                return mp_cli_usage("at most %d --pair", MP_MATRIX_MAX_PAIRS);
            selection.pairs[selection.pair_count++] = optarg;
            break;
        case SUBJECT: suite.subject = optarg; break;
        case AGAINST: suite.against = optarg; break;
        case MATCH: selection.match = optarg; break;
        case TIER: selection.tier = optarg; break;
        case GOLDEN: suite.golden_path = optarg; break;
        case REPEAT: status = mp_cli_number("--repeat", optarg, 1, 100000, &repeat, &err); break;
        case JOBS: status = mp_cli_number("--jobs", optarg, 1, 64, &jobs, &err); break;
        case TIMEOUT: status = mp_cli_number("--timeout", optarg, 1, 1000000, &timeout, &err); break;
        case PLAIN: suite.plain = true; break;
        case IN_PROCESS: suite.in_process = true; break;
        case JSON: json = optarg; break;
        case JUNIT: junit = optarg; break;
        case HELP: fputs(help, stdout); return MP_EXIT_OK;
        default: fputs(help, stderr); return MP_EXIT_USAGE;
        }
    if (status != MP_OK) return mp_cli_fail(&err);
    if (suite.in_process && jobs > 1)
        return mp_cli_usage("--in-process and --jobs %lld exclude each other", (long long)jobs);

    mp_matrix matrix = {0};
    mp_verdict *verdicts = NULL;
    mp_run_info info;
    int code = MP_EXIT_BROKEN;
    bool ran = false;
    mp_cli_run_info(argc, argv, &info);
    if ((status = mp_cli_matrix(&selection, argv + optind, argc - optind, &matrix, &err)) != MP_OK) goto out;
    if ((status = mp_cli_output(json, (const char *[]){junit, suite.golden_path}, 2, &err)) != MP_OK)
        goto out;
    if ((status = mp_cli_output(junit, (const char *[]){suite.golden_path}, 1, &err)) != MP_OK) goto out;
    if ((status = mp_cli_output(json, (const char *const *)argv + optind, (size_t)(argc - optind), &err)) !=
        MP_OK)
        goto out;
    if ((status = mp_cli_output(junit, (const char *const *)argv + optind, (size_t)(argc - optind), &err)) !=
        MP_OK)
        goto out;
    if (!(verdicts = calloc(matrix.count, sizeof *verdicts))) {
        status = mp_fail(&err, MP_EMEMORY, "no memory for %zu verdicts", matrix.count);
        goto out;
    }
    struct progress progress = {.matrix = &matrix,
                                .suite = &suite,
                                .info = &info,
                                .name_width = widest_name(&matrix),
                                .terminal = isatty(STDERR_FILENO) != 0,
                                .color = colors_wanted(),
                                .start = mp_seconds_now()};
    suite.repeat = (int)repeat;
    suite.jobs = (int)jobs;
    suite.timeout_seconds = (double)timeout;
    suite.progress = on_progress;
    suite.ctx = &progress;
    if ((status = mp_suite_run(&matrix, &suite, verdicts, &info, &err)) != MP_OK) goto out;

    ran = true;
    size_t count = matrix.count;
    code = mp_cli_conclude(&info, verdicts, &count);
    if (json && (status = mp_report_json(json, &info, verdicts, count, &err)) != MP_OK) goto out;
    if (junit) status = mp_report_junit(junit, &info, verdicts, count, &err);
out:
    for (size_t i = 0; verdicts && i < matrix.count; i++) mp_verdict_free(&verdicts[i]);
    free(verdicts);
    mp_run_info_free(&info);
    mp_matrix_free(&matrix);
    if (status == MP_OK) return code;
    const int failure = mp_cli_fail(&err);
    if (!ran) return failure;
    return code == MP_EXIT_FAILURE
               ? MP_EXIT_FAILURE
               : MP_EXIT_BROKEN; /* a report that could not be written hides no failure, and is no success */
}
