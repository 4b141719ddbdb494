/* SPDX-License-Identifier: Apache-2.0 */
/* Child programs that are talked to through two pipes. */
#ifndef MP_BASE_PROCESS_H
#define MP_BASE_PROCESS_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The numbers of the child's ends of the pipes: it reads from one and writes to the other. */
enum { MP_PROCESS_IN = 3, MP_PROCESS_OUT = 4, MP_PROCESS_THIRD = 5 };

typedef struct mp_process {
    pid_t pid;    /* 0: none */
    int to, from; /* this side's ends, non-blocking and close-on-exec; -1: closed */
} mp_process;

/* Starts argv[0] (searched for on PATH where it has no slash) with this environment and these variables
 * (each "NAME=value"; NULL ends them). The child gets no other descriptor than the two pipes, `third` as
 * MP_PROCESS_THIRD (-1: none), /dev/null as its standard input, and
 * this program's standard error as its own and as its standard output. It is not ended by Ctrl-C or a
 * terminal that closes, which are its parent's to answer, but by SIGKILL when the thread that started it
 * ends. MP_EINPUT when there is no such program; MP_EMEMORY when the system refuses pipes or a process. A
 * program that cannot be executed after all ends with exit code 127. */
mp_status mp_process_start(const char *const *argv, const char *const *variables, int third, mp_process *p,
                           mp_error *err);

/* Tells the child that nothing more will come. */
void mp_process_hang_up(mp_process *p);
/* How a child ended where the system does not tell: this program ignores SIGCHLD, or another part of it has
 * collected the child. No status of waitpid. */
#define MP_PROCESS_END_UNKNOWN (-1)
/* Collects the child if it ends within so many seconds, closes the pipes and empties *p; *status as waitpid
 * has it, or MP_PROCESS_END_UNKNOWN. */
bool mp_process_wait(mp_process *p, double seconds, int *status);
/* Kills it and collects it. One that a driver holds may not die: it is left behind after some seconds. An
 * empty *p is fine. */
void mp_process_kill(mp_process *p);
/* "died of signal 11 (Segmentation fault)", "ended with exit code 1", or that it is not known. */
void mp_process_end_text(int status, char *text, size_t size);

#endif
