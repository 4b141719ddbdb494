/* SPDX-License-Identifier: Apache-2.0 */
/* The manual page. In troff a line that begins with a dot or a quote is a command, a backslash begins an
 * escape, and a bare dash may become a typographic one. */
#include "cli/help.h"

#include <string.h>

static void put_text(FILE *out, const char *text) {
    for (const char *p = text; *p; p++) {
        if ((p == text || p[-1] == '\n') && (*p == '.' || *p == '\'')) fputs("\\&", out);
        if (*p == '\\')
            fputs("\\e", out);
        else if (*p == '-')
            fputs("\\-", out);
        else
            fputc(*p, out);
    }
}

static void put_option(FILE *out, const mp_option_row *o, mp_command command) {
    fputs(".TP\n\\fB", out);
    if (o->letter) fprintf(out, "\\-%c\\fR, \\fB", o->letter);
    put_text(out, "--");
    put_text(out, o->name);
    fputs("\\fR", out);
    if (o->argument) fprintf(out, " \\fI%s\\fR", o->argument);
    fputc('\n', out);
    put_text(out, o->summary);
    if (o->fallback) {
        fputs(" [", out);
        put_text(out, o->fallback);
        fputc(']', out);
    }
    fputs(".\n", out);
    if (o->details) {
        put_text(out, o->details);
        fputc('\n', out);
    }
    if (o->repeats >> command & 1) fputs("May be given more than once.\n", out);
}

static void put_command(FILE *out, mp_command command) {
    const mp_command_row *c = &mp_commands[command];
    fputs(".SS ", out);
    put_text(out, c->name);
    fputs("\n.nf\n", out);
    for (const char *line = c->usage;; line++) {
        const size_t length = strcspn(line, "\n");
        char form[256];
        snprintf(form, sizeof form, "moeparity %s%s%.*s", c->name, length ? " " : "", (int)length, line);
        put_text(out, form);
        fputc('\n', out);
        line += length;
        if (*line == '\0') break;
    }
    fputs(".fi\n.PP\n", out);
    put_text(out, c->summary);
    fputs(".\n", out);
    if (c->details) {
        put_text(out, c->details);
        fputc('\n', out);
    }
    for (int i = 0; i < MP_OPTION_COUNT; i++)
        if (mp_command_takes(command, (mp_option)i) && !mp_options[i].hidden && i != MP_OPT_HELP)
            put_option(out, &mp_options[i], command);
}

void mp_help_manual(FILE *out, const char *version) {
    fprintf(out,
            ".TH MOEPARITY 1 \"\" \"moeparity %s\"\n.SH NAME\nmoeparity \\- verification and parity harness "
            "for fused mixture\\-of\\-experts GPU kernels\n",
            version);
    fputs(
        ".SH SYNOPSIS\n.B moeparity\n.I COMMAND\n.RI [ ARGUMENT \" ...]\"\n.br\n.B moeparity help\n"
        ".RI [ COMMAND ]\n.br\n.B moeparity \\-\\-version\n.SH DESCRIPTION\n"
        "Judges fused MoE kernels stage by stage against a float64 reference with derived bounds, against "
        "the bits that are predicted for a device, against other variants, and against stored traces.\n.PP\n"
        "Options stand anywhere on the line, as\n.BI \\-\\-name \" value\"\nor\n.BI \\-\\-name= value\n"
        "and may be shortened as far as the name stays the only one.\n.SH COMMANDS\n",
        out);
    for (int i = 0; i < MP_COMMAND_COUNT; i++) put_command(out, (mp_command)i);
    fputs(".SH EXIT STATUS\n", out);
    for (int i = 0; i < mp_exit_count; i++) {
        fprintf(out, ".TP\n.B %d\n", mp_exits[i].code);
        put_text(out, mp_exits[i].meaning);
        fputs(".\n", out);
    }
    fputs(".SH ENVIRONMENT\n", out);
    for (int i = 0; i < mp_variable_count; i++) {
        fprintf(out, ".TP\n.B %s\n", mp_variables[i].name);
        put_text(out, mp_variables[i].meaning);
        fputc('\n', out);
    }
}
