/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/shell.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void become(const char *command, bool quiet) {
    const int null = open("/dev/null", O_RDWR);
    setpgid(0, 0);
    dup2(null, STDIN_FILENO);
    if (quiet) dup2(null, STDERR_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

mp_status mp_shell_run(const char *command, bool quiet, double seconds, int *code, mp_error *err) {
    enum { ROUND_MICROSECONDS = 10000 };
    const double deadline = mp_seconds_now() + seconds;
    int status = 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) become(command, quiet);
    if (pid < 0) return mp_fail(err, MP_EMEMORY, "no process for a shell: %s", strerror(errno));
    setpgid(pid, pid); /* whoever comes first */
    pid_t gone = 0;
    while (gone == 0 && mp_seconds_now() < deadline) {
        gone = waitpid(pid, &status, WNOHANG);
        if (gone == 0) usleep(ROUND_MICROSECONDS);
    }
    if (gone == 0) {
        kill(-pid, SIGKILL);
        waitpid(pid, &status, 0);
        *code = -1;
        return MP_OK;
    }
    *code = gone < 0              ? 127 /* another part of this program has collected it */
            : WIFEXITED(status)   ? WEXITSTATUS(status)
            : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                  : 127;
    return MP_OK;
}

mp_status mp_shell_run_self(const char *line, double seconds, int *code, mp_error *err) {
    char self[PATH_MAX];
    mp_text command = {0};
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return mp_fail(err, MP_EIO, "/proc/self/exe: %s", strerror(errno));
    self[length] = '\0';
    mp_text_add(&command, "moeparity() { ");
    mp_text_add_word(&command, self);
    mp_text_add(&command, " \"$@\"; }\n%s", line);
    const mp_status status = mp_shell_run(mp_text_get(&command), true, seconds, code, err);
    mp_text_free(&command);
    return status;
}
