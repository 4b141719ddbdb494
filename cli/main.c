/* moeparity: the table of sub-commands. */
#include "cli/common.h"

#include "version.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", mp_cmd_run, "judge the cases of matrix files, or one case"},
    {"list", mp_cmd_list, "print the cases of matrix files, one name a line"},
    {"show", mp_cmd_show, "one case: fields, contract, config, memory plan, bounds"},
    {"golden", mp_cmd_golden, "record, verify, diff or list golden traces (HDF5)"},
    {"probe", mp_cmd_probe, "what this device's arithmetic is, and whether the bit model holds on it"},
    {"bench", mp_cmd_bench, "time the reference, the prediction or the kernels"},
    {"doctor", mp_cmd_doctor, "versions, device, BLAS core, caches; what will be skipped and why"},
};

static void usage(FILE *out) {
    fprintf(out, "usage: moeparity COMMAND [ARGUMENT ...]      (moeparity COMMAND --help tells more)\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fprintf(
        out,
        "\nexit codes: 0 all judged cases passed; 1 a parity failure; 2 usage or bad input, nothing run;\n"
        "            3 a subject crashed, hung or could not be run, or Ctrl-C; 77 everything skipped\n");
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error to report, like a full disk, not a death */
    if (argc < 2) {
        usage(stderr);
        return MP_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return mp_cli_finish(MP_EXIT_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("moeparity %s (%s)\n", MP_VERSION, MP_COMMIT);
        return mp_cli_finish(MP_EXIT_OK);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            char name[32]; /* for getopt's messages */
            snprintf(name, sizeof name, "moeparity: %s", commands[i].name);
            argv[1] = name;
            return mp_cli_finish(commands[i].run(argc - 1, argv + 1));
        }
    usage(stderr);
    return mp_cli_usage("unknown command '%s'", argv[1]);
}
