/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of a shell. */
#ifndef MP_HARNESS_SHELL_H
#define MP_HARNESS_SHELL_H

#include "moeparity/status.h"

#include <stdbool.h>

/* Runs a command by /bin/sh in a process group of its own, without standard input, and with this
 * program's standard error as its standard output too (quiet: with neither). *code is its exit code; 128
 * and the number of the signal, as a shell says it, where one ended it; -1 where it took longer than
 * `seconds`, and its group was killed. MP_EMEMORY where no process could be made. */
mp_status mp_shell_run(const char *command, bool quiet, double seconds, int *code, mp_error *err);
/* Runs `line`, in which `moeparity` is this program, whatever PATH says. */
mp_status mp_shell_run_self(const char *line, double seconds, int *code, mp_error *err);

#endif
