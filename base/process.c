/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_EXECUTE = 127, ABOVE_ALL_ENDS = 10, KILL_SECONDS = 10 };

static mp_status find_program(const char *name, char path[PATH_MAX], mp_error *err) {
    const char *at = getenv("PATH");
    if (strchr(name, '/')) {
        snprintf(path, PATH_MAX, "%s", name);
        return access(path, X_OK) == 0 ? MP_OK
                                       : mp_fail(err, MP_EINPUT, "cannot run %s: %s", name, strerror(errno));
    }
    for (size_t length; at && *at; at += length + (at[length] == ':')) {
        length = strcspn(at, ":");
        snprintf(path, PATH_MAX, "%.*s/%s", (int)length, at, name);
        if (access(path, X_OK) == 0) return MP_OK;
    }
    return mp_fail(err, MP_EINPUT, "cannot run %s: there is no such program on PATH", name);
}

static bool is_among(const char *const *variables, const char *variable) {
    for (size_t i = 0; variables[i]; i++)
        if (strncmp(variables[i], variable, strcspn(variables[i], "=") + 1) == 0) return true;
    return false;
}

/* environ with the variables in front. What stood there under the same names is found too late to matter, but
 * left out all the same. */
static char **environment_with(const char *const *variables) {
    size_t count = 0, kept = 0;
    while (environ[count]) count++;
    for (size_t i = 0; variables[i]; i++) count++;
    char **all = malloc((count + 1) * sizeof *all);
    if (!all) return NULL;
    for (size_t i = 0; variables[i]; i++) all[kept++] = (char *)variables[i];
    for (size_t i = 0; environ[i]; i++)
        if (!is_among(variables, environ[i])) all[kept++] = environ[i];
    all[kept] = NULL;
    return all;
}

/* Between fork and exec: only what may be called in a signal handler, for other threads of the parent may
 * hold any lock. */
static _Noreturn void become(const char *path, char *const *argv, char *const *environment, pid_t parent,
                             int in, int out, int third, int null) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0); /* the parent died before the line above */
    const int ignored[] = {SIGINT, SIGHUP}, usual[] = {SIGTERM, SIGPIPE, SIGCHLD};
    for (int i = 0; i < 2; i++) sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    for (int i = 0; i < 3; i++) sigaction(usual[i], &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    in = fcntl(in, F_DUPFD_CLOEXEC, ABOVE_ALL_ENDS); /* they may have each other's number */
    out = fcntl(out, F_DUPFD_CLOEXEC, ABOVE_ALL_ENDS);
    null = fcntl(null, F_DUPFD_CLOEXEC, ABOVE_ALL_ENDS);
    if (third >= 0) third = fcntl(third, F_DUPFD_CLOEXEC, ABOVE_ALL_ENDS);
    if (dup2(in, MP_PROCESS_IN) < 0 || dup2(out, MP_PROCESS_OUT) < 0 || dup2(null, STDIN_FILENO) < 0)
        _exit(CANNOT_EXECUTE);
    if (third >= 0 && dup2(third, MP_PROCESS_THIRD) < 0) _exit(CANNOT_EXECUTE);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    close_range(third >= 0 ? MP_PROCESS_THIRD + 1 : MP_PROCESS_THIRD, ~0u,
                0); /* what this program or its caller left open */
    execve(path, argv, environment);
    _exit(CANNOT_EXECUTE);
}

static void close_end(int *end) {
    if (*end >= 0) close(*end);
    *end = -1;
}

mp_status mp_process_start(const char *const *argv, const char *const *variables, int third, mp_process *p,
                           mp_error *err) {
    mp_status status;
    int request[2] = {-1, -1}, reply[2] = {-1, -1}, null = -1;
    char path[PATH_MAX], **environment = NULL;
    *p = (mp_process){.to = -1, .from = -1};
    if ((status = find_program(argv[0], path, err)) != MP_OK) return status;
    if (!(environment = environment_with(variables)))
        return mp_fail(err, MP_EMEMORY, "no memory for an environment");
    if (pipe2(request, O_CLOEXEC) != 0 || pipe2(reply, O_CLOEXEC) != 0 ||
        (null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 || fcntl(request[1], F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(reply[0], F_SETFL, O_NONBLOCK) != 0) {
        status = mp_fail(err, MP_EMEMORY, "cannot make a pipe to %s: %s", argv[0], strerror(errno));
        goto out;
    }
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) become(path, (char *const *)argv, environment, parent, request[0], reply[1], third, null);
    if (pid < 0) {
        status = mp_fail(err, MP_EMEMORY, "cannot start %s: %s", argv[0], strerror(errno));
        goto out;
    }
    *p = (mp_process){.pid = pid, .to = request[1], .from = reply[0]};
    request[1] = reply[0] = -1;
    status = MP_OK;
out:
    for (int i = 0; i < 2; i++) close_end(&request[i]), close_end(&reply[i]);
    close_end(&null);
    free(environment);
    return status;
}

void mp_process_hang_up(mp_process *p) {
    if (p->pid) close_end(&p->to);
}

bool mp_process_wait(mp_process *p, double seconds, int *status) {
    const double deadline = mp_seconds_now() + seconds;
    useconds_t pause = 200;
    pid_t ended;
    while ((ended = waitpid(p->pid, status, WNOHANG)) == 0 && mp_seconds_now() < deadline) {
        usleep(pause);
        pause = pause < 10000 ? 2 * pause : pause;
    }
    if (ended == 0) return false;
    if (ended < 0) *status = MP_PROCESS_END_UNKNOWN;
    close_end(&p->to);
    close_end(&p->from);
    p->pid = 0;
    return true;
}

void mp_process_kill(mp_process *p) {
    int status;
    if (!p->pid) return;
    kill(p->pid, SIGKILL);
    if (mp_process_wait(p, KILL_SECONDS, &status)) return;
    close_end(&p->to);
    close_end(&p->from);
    p->pid = 0;
}

void mp_process_end_text(int status, char *text, size_t size) {
    if (status == MP_PROCESS_END_UNKNOWN)
        snprintf(text, size,
                 "ended, it is not known how (SIGCHLD is ignored, or another part of this program collected "
                 "it)");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "died of signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 WTERMSIG(status) == SIGKILL ? ": out of memory?" : "");
    else
        snprintf(text, size, "ended with exit code %d", WEXITSTATUS(status));
}
