/* moeparity: finds the command, and runs it. */
#include "cli/common.h"
#include "cli/help.h"

#include "version.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    mp_args args;
    mp_error err = {0};
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error to report, like a full disk, not a death */
    if (argc < 2) {
        mp_help_overview(stderr);
        return MP_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("moeparity %s (%s)\n", MP_VERSION, MP_COMMIT);
        return mp_cli_finish(MP_EXIT_OK);
    }
    mp_status status = mp_args_parse(argc, argv, &args, &err);
    int code = MP_EXIT_OK;
    if (status == MP_OK && mp_args_given(&args, MP_OPT_HELP))
        status = mp_help_words(stdout, args.operands, args.operand_count, false, &err);
    else if (status == MP_OK)
        code = mp_commands[args.command].run(&args);
    if (status != MP_OK) code = mp_cli_fail(&err);
    mp_args_free(&args);
    return mp_cli_finish(code);
}
