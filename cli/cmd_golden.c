/* moeparity golden record | verify | diff | ls. */
#include "cli/common.h"

#include "golden/golden.h"
#include "harness/run/run_case.h"
#include "harness/run/suite.h"
#include "reports/report.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] = "usage: moeparity golden record FILE MATRIX... [--case TEXT] [--subject S] "
                           "[--match EXPR] [--tier T] [--inputs] [--digest-above BYTES]\n"
                           "       moeparity golden verify FILE [--subject S] [--match EXPR]\n"
                           "       moeparity golden diff FILE FILE\n"
                           "       moeparity golden ls FILE\n"
                           "record judges every case first, and writes nothing unless all of them pass\n"
                           "  --inputs              store the inputs too\n"
                           "  --digest-above BYTES  larger tensors become one digest a row   [1048576]\n";

struct arguments {
    mp_cli_selection selection;
    const char *subject;
    bool inputs;
    int64_t digest_above;
    char **files;
    int file_count;
    int argc;
    char **argv;
};

static mp_status record_case(mp_subject *subject, mp_golden *golden, const mp_case *c, bool with_inputs,
                             mp_error *err) {
    char contract_text[256], config_text[160], up[64], down[64];
    mp_contract contract;
    mp_config config;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_status status = subject->resolve(subject, c, &contract, &config, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_inputs_check_ids(c, &in, err);
    if (status == MP_OK) status = subject->run(subject, c, &in, MP_POISON_A, &trace, err);
    if (status == MP_OK) {
        mp_contract_text(&contract, contract_text, sizeof contract_text);
        mp_tile_text(&config.up, up);
        mp_tile_text(&config.down, down);
        snprintf(config_text, sizeof config_text, "%s %s", up, down);
        status =
            mp_golden_write(golden, c, contract_text, config_text, &trace, with_inputs ? &in : NULL, err);
    }
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

/* A golden holds only what every check passes: a trace that is wrong must not become what others are compared
 * with. Prints the row of any other. */
static bool passes(mp_subject *subject, const mp_matrix_row *row, mp_tally *tally) {
    const mp_run_options options = {.subject = subject, .repeat = 2};
    mp_verdict v;
    mp_run_case(row, &options, &v);
    mp_tally_add(tally, &v);
    const bool passed = v.outcome == MP_PASS;
    if (!passed) mp_report_row(stdout, &v, 0, false);
    mp_verdict_free(&v);
    return passed;
}

/* Runs in a process of its own, so that a crash of the subject is told and has its exit code. *code is the
 * exit code where nothing is wrong but a case. */
static mp_status record_all(const struct arguments *a, const mp_matrix *matrix, int *code, mp_error *err) {
    mp_subject subject = {0};
    mp_golden *golden = NULL;
    mp_run_info info;
    mp_status status = mp_subject_open(a->subject, &subject, err);
    if (status != MP_OK) return status;
    mp_cli_run_info(a->argc, a->argv, &info);
    mp_provenance who = {0};
    snprintf(who.origin, sizeof who.origin, "%s",
             strcmp(subject.name, "host") == 0 ? "predicted sm_90" : "executed");
    snprintf(who.version, sizeof who.version, "%s", info.version);
    snprintf(who.commit, sizeof who.commit, "%s", info.commit);
    snprintf(who.subject, sizeof who.subject, "%s", subject.name);
    snprintf(who.device, sizeof who.device, "%s", subject.device[0] ? subject.device : info.host);
    snprintf(who.versions, sizeof who.versions, "%s%s%s", subject.versions, subject.versions[0] ? ", " : "",
             mp_cli_compiler());
    snprintf(who.date, sizeof who.date, "%s", info.date);
    mp_run_info_free(&info);
    status = mp_golden_create(a->files[0], &who, (size_t)a->digest_above, &golden, err);
    bool accepted = true;
    for (size_t i = 0; status == MP_OK && accepted && i < matrix->count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_tally tally = {0};
        mp_case_text(&matrix->rows[i].c, name, sizeof name);
        accepted = passes(&subject, &matrix->rows[i], &tally);
        *code = mp_tally_exit_code(&tally);
        if (!accepted) break;
        status = record_case(&subject, golden, &matrix->rows[i].c, a->inputs, err);
        if (status == MP_OK)
            printf("judged   %s\n", name);
        else
            mp_error_prefix(err, "%s", name);
    }
    if (status == MP_OK && accepted) {
        status = mp_golden_commit(golden, err);
        if (status == MP_OK)
            printf("recorded %zu case%s in %s\n", matrix->count, matrix->count == 1 ? "" : "s", a->files[0]);
    } else {
        mp_golden_close(golden);
        if (!accepted)
            fprintf(stderr, "moeparity: %s was not written: a golden holds only cases that pass\n",
                    a->files[0]);
    }
    mp_subject_close(&subject);
    return status;
}

static int record(const struct arguments *a) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    if (mp_cli_matrix(&a->selection, a->files + 1, a->file_count - 1, &matrix, &err) != MP_OK ||
        mp_cli_output(a->files[0], (const char *const *)a->files + 1, (size_t)a->file_count - 1, &err) !=
            MP_OK) {
        mp_matrix_free(&matrix);
        return mp_cli_fail(&err);
    }
    fflush(NULL);
    int code = MP_EXIT_BROKEN, status = 0;
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* who ends the command ends the recording */
        if (getppid() != parent) _exit(MP_EXIT_BROKEN);
        if (record_all(a, &matrix, &code, &err) != MP_OK) code = mp_cli_fail(&err);
        _exit(mp_cli_finish(code));
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (pid < 0) {
        fprintf(stderr, "moeparity: cannot start a process: %s\n", strerror(errno));
    } else if (WIFEXITED(status)) {
        code = WEXITSTATUS(status);
    } else {
        fprintf(stderr, "moeparity: the subject died of signal %d; %s was not written\n", WTERMSIG(status),
                a->files[0]);
    }
    mp_matrix_free(&matrix);
    return code;
}

static void print_row(void *ctx, size_t index, const mp_verdict *v) {
    (void)ctx, (void)index;
    if (!v) return;
    mp_report_row(stdout, v, 60, false);
    fflush(stdout);
}

/* The cases whose names the file holds, as a matrix. */
static mp_status matrix_of_golden(const char *path, const char *match, mp_matrix *matrix, mp_error *err) {
    mp_golden *golden = NULL;
    size_t count = 0;
    mp_status status = mp_golden_open(path, &golden, err);
    if (status == MP_OK) status = mp_golden_case_count(golden, &count, err);
    for (size_t i = 0; status == MP_OK && i < count; i++) {
        char name[MP_CASE_TEXT_MAX];
        status = mp_golden_case_name(golden, i, name, err);
        if (status == MP_OK && (status = mp_matrix_add(matrix, name, NULL, 0, err)) != MP_OK)
            mp_error_prefix(err, "%s", path);
    }
    mp_golden_close(golden);
    if (status == MP_OK && match) status = mp_matrix_select(matrix, MP_FULL, match, err);
    if (status == MP_OK && matrix->count == 0) status = mp_fail(err, MP_EINPUT, "%s holds no case", path);
    return status;
}

static int verify(const struct arguments *a) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    mp_verdict *verdicts = NULL;
    mp_run_info info;
    int code = MP_EXIT_BROKEN;
    mp_cli_run_info(a->argc, a->argv, &info);
    mp_status status = matrix_of_golden(a->files[0], a->selection.match, &matrix, &err);
    if (status == MP_OK && !(verdicts = calloc(matrix.count, sizeof *verdicts)))
        status = mp_fail(&err, MP_EMEMORY, "no memory for verdicts");
    const mp_suite_options suite = {.subject = a->subject,
                                    .golden_path = a->files[0],
                                    .golden_required = true,
                                    .repeat = 2,
                                    .jobs = 1,
                                    .timeout_seconds = 600,
                                    .progress = print_row};
    if (status == MP_OK) status = mp_suite_run(&matrix, &suite, verdicts, &info, &err);
    if (status == MP_OK) {
        size_t count = matrix.count;
        code = mp_cli_conclude(&info, verdicts, &count);
    }
    for (size_t i = 0; verdicts && i < matrix.count; i++) mp_verdict_free(&verdicts[i]);
    free(verdicts);
    mp_run_info_free(&info);
    mp_matrix_free(&matrix);
    return status == MP_OK ? code : mp_cli_fail(&err);
}

static void print_line(void *ctx, const char *line) {
    (void)ctx;
    puts(line);
}

static int diff(const struct arguments *a) {
    mp_golden *first = NULL, *second = NULL;
    mp_error err = {0};
    bool equal = false;
    mp_status status = mp_golden_open(a->files[0], &first, &err);
    if (status == MP_OK) status = mp_golden_open(a->files[1], &second, &err);
    if (status == MP_OK) status = mp_golden_diff(first, second, print_line, NULL, &equal, &err);
    mp_golden_close(second);
    mp_golden_close(first);
    if (status != MP_OK) return mp_cli_fail(&err);
    if (equal) puts("equal");
    return equal ? MP_EXIT_OK : MP_EXIT_FAILURE;
}

static int list(const struct arguments *a) {
    mp_golden *golden = NULL;
    mp_error err = {0};
    mp_status status = mp_golden_open(a->files[0], &golden, &err);
    if (status == MP_OK) {
        const mp_provenance *who = mp_golden_provenance(golden);
        printf("made by moeparity %s (%s), subject %s on %s %s, %s, origin %s, fill %d\n", who->version,
               who->commit, who->subject, who->device, who->versions, who->date, who->origin,
               mp_golden_fill_version(golden));
        status = mp_golden_list(golden, print_line, NULL, &err);
    }
    mp_golden_close(golden);
    return status == MP_OK ? MP_EXIT_OK : mp_cli_fail(&err);
}

int mp_cmd_golden(int argc, char **argv) {
    enum { CASE = 1, SUBJECT, MATCH, TIER, INPUTS, DIGEST_ABOVE, HELP };
    static const struct option options[] = {{"case", 1, 0, CASE},     {"subject", 1, 0, SUBJECT},
                                            {"match", 1, 0, MATCH},   {"tier", 1, 0, TIER},
                                            {"inputs", 0, 0, INPUTS}, {"digest-above", 1, 0, DIGEST_ABOVE},
                                            {"help", 0, 0, HELP},     {0}};
    static const struct {
        const char *name;
        int (*run)(const struct arguments *a);
        int min_files, max_files;
        unsigned takes; /* bit o: the option with that number */
    } verbs[] = {{"record", record, 1, 1 << 20, ~0u},
                 {"verify", verify, 1, 1, 1u << SUBJECT | 1u << MATCH},
                 {"diff", diff, 2, 2, 0},
                 {"ls", list, 1, 1, 0}};
    unsigned given = 0;
    struct arguments a = {.selection = {.takes_case = true},
                          .subject = "auto",
                          .digest_above = 1 << 20,
                          .argc = argc,
                          .argv = argv};
    mp_error err = {0};
    mp_status status = MP_OK;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1 && status == MP_OK;
         given |= o < HELP ? 1u << o : 0)
        switch (o) {
        case CASE: a.selection.case_text = optarg; break;
        case SUBJECT: a.subject = optarg; break;
        case MATCH: a.selection.match = optarg; break;
        case TIER: a.selection.tier = optarg; break;
        case INPUTS: a.inputs = true; break;
        case DIGEST_ABOVE:
            status = mp_cli_number("--digest-above", optarg, 0, INT64_MAX, &a.digest_above, &err);
            break;
        case HELP: fputs(help, stdout); return MP_EXIT_OK;
        default: fputs(help, stderr); return MP_EXIT_USAGE;
        }
    if (status != MP_OK) return mp_cli_fail(&err);
    for (size_t i = 0; optind < argc && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[optind], verbs[i].name) != 0) continue;
        a.files = argv + optind + 1;
        a.file_count = argc - optind - 1;
        if (a.file_count < verbs[i].min_files || a.file_count > verbs[i].max_files)
            return mp_cli_usage("golden %s takes %s, not %d", verbs[i].name,
                                verbs[i].max_files == 1   ? "one file"
                                : verbs[i].max_files == 2 ? "two files"
                                                          : "a file and matrices",
                                a.file_count);
        for (const struct option *o = options; o->name; o++)
            if (given & ~verbs[i].takes & 1u << o->val)
                return mp_cli_usage("golden %s takes no --%s", verbs[i].name, o->name);
        return verbs[i].run(&a);
    }
    fputs(help, stderr);
    return optind < argc
               ? mp_cli_usage("unknown word '%s': expected record, verify, diff or ls", argv[optind])
               : MP_EXIT_USAGE;
}
