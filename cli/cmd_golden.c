/* moeparity golden record | verify | diff | ls. */
#include "cli/common.h"
#include "cli/dry_run.h"
#include "cli/find.h"
#include "cli/judge.h"
#include "cli/progress.h"

#include "golden/golden.h"
#include "harness/run/run_case.h"
#include "harness/run/surroundings.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static mp_status record_case(mp_subject *subject, mp_golden *golden, const mp_case *c, mp_error *err) {
    char contract_text[MP_CONTRACT_TEXT_MAX], config_text[160], up[64], down[64];
    mp_offer offer;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_surroundings_report report;
    mp_status status = mp_subject_describe(subject, c, &offer, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_inputs_check_ids(c, &in, err);
    if (status == MP_OK)
        status = mp_run_surrounded(subject, c, &offer, &in, MP_POISON_A, &trace, &report, err);
    if (status == MP_OK) {
        mp_contract_text(&offer.contract, contract_text, sizeof contract_text);
        mp_tile_text(&offer.config.up, up);
        mp_tile_text(&offer.config.down, down);
        snprintf(config_text, sizeof config_text, "%s %s", up, down);
        status = mp_golden_write(golden, c, contract_text, config_text, &trace, &in, err);
    }
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

/* A golden holds only what every check passes: a trace that is wrong must not become what others are compared
 * with. */
static bool passes(const mp_args *args, mp_subject *subject, mp_progress *progress, size_t index,
                   mp_tally *tally) {
    const mp_run_options options = {.subject = subject,
                                    .repeat = 2,
                                    .plain = mp_args_given(args, MP_OPT_PLAIN),
                                    .device = subject->query.device,
                                    .triton = subject->query.triton,
                                    .config_file = subject->query.file};
    mp_verdict v;
    mp_progress_case(progress, index, NULL);
    mp_run_case(&progress->matrix->rows[index], &options, &v);
    mp_tally_add(tally, &v);
    mp_progress_case(progress, index, &v);
    const bool passed = v.outcome == MP_PASS;
    mp_verdict_free(&v);
    return passed;
}

static mp_provenance provenance(const mp_subject *subject, const mp_run_info *info) {
    mp_provenance who = {0};
    snprintf(who.origin, sizeof who.origin, "%s",
             strcmp(subject->name, "host") == 0 ? "predicted sm_90" : "executed");
    snprintf(who.version, sizeof who.version, "%s", info->version);
    snprintf(who.commit, sizeof who.commit, "%s", info->commit);
    snprintf(who.subject, sizeof who.subject, "%s", subject->name);
    snprintf(who.device, sizeof who.device, "%s", subject->device[0] ? subject->device : info->host);
    snprintf(who.versions, sizeof who.versions, "%s%s%s", subject->versions, subject->versions[0] ? ", " : "",
             mp_cli_compiler());
    snprintf(who.date, sizeof who.date, "%s", info->date);
    return who;
}

/* Runs in a process of its own, so that a crash of the subject is told and has its exit code; a case that
 * hangs ends it by SIGALRM. *code is the exit code where nothing is wrong but a case. */
static mp_status record_all(const mp_args *args, const char *path, const mp_matrix *matrix,
                            const mp_run_info *info, int *code, mp_error *err) {
    mp_subject subject = {0};
    mp_golden *golden = NULL;
    mp_status status = mp_subject_open(mp_args_text(args, MP_OPT_SUBJECT), &subject, err);
    if (status != MP_OK) return status;
    subject.query = mp_cli_query(args);
    const mp_provenance who = provenance(&subject, info);
    const mp_suite_options suite = {.subject = subject.name};
    mp_progress progress = mp_progress_begin(args, matrix, &suite, info);
    status = mp_golden_create(path, &who, (size_t)mp_args_number(args, MP_OPT_DIGEST_ABOVE), &golden, err);
    if (status == MP_OK && mp_args_given(args, MP_OPT_INPUTS)) mp_golden_store_inputs(golden);
    bool accepted = true;
    for (size_t i = 0; status == MP_OK && accepted && i < matrix->count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_tally tally = {0};
        mp_case_text(&matrix->rows[i].c, name, sizeof name);
        alarm((unsigned)mp_args_number(args, MP_OPT_TIMEOUT));
        accepted = passes(args, &subject, &progress, i, &tally);
        *code = mp_exit_code(&tally, false);
        if (!accepted) break;
        status = record_case(&subject, golden, &matrix->rows[i].c, err);
        if (status != MP_OK) mp_error_prefix(err, "%s", name);
    }
    alarm(0);
    mp_status_line_clear(&progress.line);
    if (status == MP_OK && accepted) {
        status = mp_golden_commit(golden, err);
        if (status == MP_OK)
            printf("recorded %zu case%s in %s\n", matrix->count, matrix->count == 1 ? "" : "s", path);
    } else {
        mp_golden_close(golden);
        if (!accepted)
            fprintf(stderr, "moeparity: %s was not written: a golden holds only cases that pass\n", path);
    }
    mp_subject_close(&subject);
    return status;
}

/* Waits for the recording's process: its exit code. */
static int wait_for_recording(const mp_args *args, const char *path, pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    if (WTERMSIG(status) == SIGALRM)
        fprintf(stderr, "moeparity: no verdict after %s s; %s was not written\n",
                mp_args_text(args, MP_OPT_TIMEOUT), path);
    else
        fprintf(stderr, "moeparity: the subject died of signal %d; %s was not written\n", WTERMSIG(status),
                path);
    return MP_EXIT_BROKEN;
}

int mp_cmd_golden_record(const mp_args *args) {
    const char *path = args->operands[0];
    mp_matrix matrix = {0};
    mp_paths paths = {0};
    mp_run_info info;
    mp_error err = {0};
    int code = MP_EXIT_BROKEN;
    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK) status = mp_paths_find(&paths, args->operands + 1, args->operand_count - 1, &err);
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &matrix, &err);
    if (status == MP_OK) status = mp_cli_output(path, (const char *const *)paths.path, paths.count, &err);
    if (status == MP_OK && mp_args_given(args, MP_OPT_DRY_RUN)) {
        const mp_suite_options suite = {.subject = mp_args_text(args, MP_OPT_SUBJECT), .repeat = 2};
        status = mp_cli_dry_run(&matrix, &suite, &err);
        code = MP_EXIT_OK;
        goto out;
    }
    if (status != MP_OK) goto out;
    fflush(NULL);
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* who ends the command ends the recording */
        if (getppid() != parent) _exit(MP_EXIT_BROKEN);
        signal(SIGALRM, SIG_DFL);
        if (record_all(args, path, &matrix, &info, &code, &err) != MP_OK) code = mp_cli_fail(&err);
        _exit(mp_cli_finish(code));
    }
    if (pid < 0)
        fprintf(stderr, "moeparity: cannot start a process: %s\n", strerror(errno));
    else
        code = wait_for_recording(args, path, pid);
out:
    mp_paths_free(&paths);
    mp_run_info_free(&info);
    mp_matrix_free(&matrix);
    return status == MP_OK ? code : mp_cli_fail(&err);
}

/* The cases that the file holds: those of --case, else all, as far as --match leaves them. */
static mp_status matrix_of_golden(const mp_args *args, const char *path, mp_matrix *matrix, mp_error *err) {
    mp_golden *golden = NULL;
    size_t count = 0;
    mp_status status = mp_golden_open(path, &golden, err);
    if (status == MP_OK) status = mp_golden_case_count(golden, &count, err);
    if (status == MP_OK && count == 0) status = mp_fail(err, MP_EINPUT, "%s holds no case", path);
    for (size_t i = 0; status == MP_OK && args->case_count == 0 && i < count; i++) {
        char name[MP_CASE_TEXT_MAX];
        status = mp_golden_case_name(golden, i, name, err);
        if (status == MP_OK && (status = mp_matrix_add(matrix, name, NULL, 0, err)) != MP_OK)
            mp_error_prefix(err, "%s", path);
    }
    for (size_t i = 0; status == MP_OK && i < args->case_count; i++)
        status = mp_matrix_add(matrix, args->cases[i].text, NULL, 0, err);
    for (size_t i = 0; status == MP_OK && i < matrix->count; i++) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix->rows[i].c, name, sizeof name);
        if (!mp_golden_has(golden, name))
            status = mp_fail(err, MP_EINPUT, "%s does not hold the case '%s'", path, name);
    }
    mp_golden_close(golden);
    const char *match = mp_args_text(args, MP_OPT_MATCH);
    return status == MP_OK && match ? mp_matrix_select(matrix, MP_FULL, match, err) : status;
}

int mp_cmd_golden_verify(const mp_args *args) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    char *path = mp_find(MP_SUPPLY_GOLDEN, args->operands[0]);
    const mp_status status = path ? matrix_of_golden(args, path, &matrix, &err)
                                  : mp_fail(&err, MP_EMEMORY, "no memory for a path");
    const int code = status == MP_OK ? mp_cli_judge(args, &matrix, path, true, NULL, 0) : mp_cli_fail(&err);
    free(path);
    mp_matrix_free(&matrix);
    return code;
}

static void print_line(void *ctx, const char *line) {
    (void)ctx;
    puts(line);
}

static mp_status open_golden(const char *name, mp_golden **golden, mp_error *err) {
    char *path = mp_find(MP_SUPPLY_GOLDEN, name);
    const mp_status status =
        path ? mp_golden_open(path, golden, err) : mp_fail(err, MP_EMEMORY, "no memory for a path");
    free(path);
    return status;
}

int mp_cmd_golden_diff(const mp_args *args) {
    mp_golden *first = NULL, *second = NULL;
    mp_error err = {0};
    bool equal = false;
    mp_status status = open_golden(args->operands[0], &first, &err);
    if (status == MP_OK) status = open_golden(args->operands[1], &second, &err);
    if (status == MP_OK) status = mp_golden_diff(first, second, print_line, NULL, &equal, &err);
    mp_golden_close(second);
    mp_golden_close(first);
    if (status != MP_OK) return mp_cli_fail(&err);
    if (equal) puts("equal");
    return equal ? MP_EXIT_OK : MP_EXIT_FAILURE;
}

int mp_cmd_golden_ls(const mp_args *args) {
    mp_golden *golden = NULL;
    mp_error err = {0};
    mp_status status = open_golden(args->operands[0], &golden, &err);
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
