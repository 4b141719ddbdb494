/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity: finds the command, and runs it. */
#include "cli/common.h"
#include "cli/help.h"

#include "commit.h"
#include "harness/run/program.h"
#include "moeparity/version.h"
#include "moeparity/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
/* libhdf5 1.10 itself leaks; our own allocations stay under LeakSanitizer's eye. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void) {
    return "print_suppressions=0";
}
#endif

/* A library that gives up calls exit(1), as OpenMP's does where it gets no thread: no parity failure. */
static bool returning;
static void on_early_exit(int code, void *unused) {
    (void)unused;
    if (returning) return;
    fprintf(stderr, "moeparity: a library ended the program with exit code %d\n", code);
    fflush(stdout);
    _exit(MP_EXIT_BROKEN);
}

/* The constructors of libraries run before main, and give up too: this runs before them. getenv does not
 * serve yet. Of a worker the run tells how it ended. */
static void before_libraries(int argc, char **argv, char **environment) {
    (void)argc, (void)argv;
    const size_t length = strlen(MP_WORKER_VARIABLE);
    for (char **e = environment; *e; e++)
        if (strncmp(*e, MP_WORKER_VARIABLE, length) == 0 && (*e)[length] == '=') return;
    on_exit(on_early_exit, NULL);
}
__attribute__((section(".preinit_array"), used)) static void (*before_all)(int, char **,
                                                                           char **) = before_libraries;

static int run_command(int argc, char **argv) {
    mp_args args;
    mp_error err = {0};
    int code = MP_EXIT_OK;
    mp_status status = mp_args_parse(argc, argv, &args, &err);
    if (status == MP_OK && mp_args_given(&args, MP_OPT_HELP))
        status = mp_help_words(stdout, args.operands, args.operand_count, false, &err);
    else if (status == MP_OK && (status = mp_cli_reports_replace_reports(&args, &err)) == MP_OK)
        code = mp_commands[args.command].run(&args);
    if (status != MP_OK) code = mp_cli_fail(&err);
    if (status != MP_OK && args.command == MP_CMD_BISECT_STEP)
        code = MP_STEP_STOP; /* no verdict of a commit */
    mp_args_free(&args);
    return mp_cli_finish(code);
}

static int run_program(int argc, char **argv) {
    if (argc < 2) {
        mp_help_overview(stderr);
        return MP_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("moeparity %s (%s)\n", mp_version(), MP_COMMIT);
        return mp_cli_finish(MP_EXIT_OK);
    }
    mp_worker_is_this_program();
    return run_command(argc, argv);
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error to report, like a full disk, not a death */
    const int code = run_program(argc, argv);
    returning = true;
    return code;
}
