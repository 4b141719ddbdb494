/* SPDX-License-Identifier: Apache-2.0 */
/* A library to put in front of the program's own (LD_PRELOAD), in which some functions misbehave when the
 * environment or the name of a file says so. exp and erfc are those of long double, which the reference takes
 * of gelu_tanh and of gelu:
 *
 *   MP_EXP_LIMIT=N, MP_ERFC_LIMIT=N   after N calls in one process, exp and erfc of z > 5 are 2 % too large,
 *                                     as if something had been left behind by the calls before
 *   MP_EXP_HANGS=1                    the first call of exp does not come back
 *   MP_COUNT=1                        the number of calls of exp is said at the end, on stderr
 *   MP_WORKER_HANGS=1                 a worker does not get as far as main
 *   a file named *crash.h5, *hang.h5  a worker dies of it, or waits for ever, when libhdf5 opens it */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long exp_calls, erfc_calls;
static long double (*real_expl)(long double), (*real_erfcl)(long double);
static int (*real_open)(const char *, int, ...);
static bool is_worker;

/* POSIX defines the conversion of dlsym's result to a function pointer; ISO C does not, hence the copy. */
static void find(const char *name, void *function) {
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(function, &symbol, sizeof symbol);
}

static _Noreturn void wait_for_ever(void) {
    for (;;) pause();
}

__attribute__((constructor)) static void begin(void) {
    find("expl", &real_expl);
    find("erfcl", &real_erfcl);
    is_worker = getenv("MOEPARITY_WORKER"); /* it takes that away */
    if (getenv("MP_WORKER_HANGS") && is_worker) wait_for_ever();
}

__attribute__((destructor)) static void end(void) {
    if (getenv("MP_COUNT")) fprintf(stderr, "%ld calls of exp\n", (long)exp_calls);
}

static double factor(atomic_long *calls, const char *variable) {
    const char *limit = getenv(variable);
    return ++*calls > (limit ? atol(limit) : LONG_MAX) ? 1.02 : 1;
}

long double expl(long double x) {
    if (getenv("MP_EXP_HANGS")) wait_for_ever();
    return real_expl(x) * factor(&exp_calls, "MP_EXP_LIMIT");
}

long double erfcl(long double z) {
    const double off = factor(&erfc_calls, "MP_ERFC_LIMIT");
    return real_erfcl(z) * (z > 5 ? off : 1);
}

/* libhdf5 is in the program itself, where nothing comes in front of it: its open() of the file is as good. */
int open(const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
    const int mode = makes ? va_arg(more, int) : 0;
    va_end(more);
    if (is_worker && strstr(name, "crash.h5")) raise(SIGSEGV);
    if (is_worker && strstr(name, "hang.h5")) wait_for_ever();
    if (!real_open) find("open", &real_open); /* libraries call it before begin() */
    return real_open(name, flags, mode);
}
