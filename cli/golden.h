/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that compare goldens share. */
#ifndef MP_CLI_GOLDEN_H
#define MP_CLI_GOLDEN_H

#include "cli/args.h"
#include "golden/files.h"

#include <jansson.h>

/* Opens a golden by its path, or by the name of one that is installed. A worker reads the whole file first: a
 * forged one crashes only that, or keeps only that busy. */
mp_status mp_cli_open_golden(const char *name, mp_golden **golden, mp_error *err);
/* Prints a line. */
void mp_cli_print_line(void *ctx, const char *line);
/* Writes the JSON at once, and gives it away; path == NULL writes nothing. */
mp_status mp_cli_write_json(const char *path, json_t *json, mp_error *err);

#endif
