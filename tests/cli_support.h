/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the program share: commands in a folder of their own, what they print, and signals.
 * MP_PROGRAM is the binary, MP_CASES the folder of matrices. */
#ifndef MP_TESTS_CLI_SUPPORT_H
#define MP_TESTS_CLI_SUPPORT_H

#include <dirent.h>
#include <jansson.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/moeparity.XXXXXX"; /* the working directory of every command */
static char out[1 << 18], err[1 << 16];         /* what the last command printed */

static inline void read_into(char *text, size_t size, const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static inline void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Starts a shell command in a process group of its own; `moeparity` is the program. */
static inline pid_t start(const char *command) {
    write_file("out", ""); /* what the command before printed is not to be taken for this one's */
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        if (!freopen("out", "w", stdout) || !freopen("err", "w", stderr) || !freopen("/dev/null", "r", stdin))
            _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    setpgid(pid, pid);
    return pid;
}

static inline int finish(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    read_into(out, sizeof out, "out");
    read_into(err, sizeof err, "err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int sh(const char *command) {
    return finish(start(command));
}

/* Runs a command on a terminal of so many columns; `out` becomes all that it would have shown. */
static inline int on_terminal(const char *command, int columns) {
    int terminal = -1, status = 0;
    size_t used = 0;
    const struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    fflush(NULL);
    const pid_t pid = forkpty(&terminal, NULL, NULL, &size);
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    for (ssize_t n; (n = read(terminal, out + used, sizeof out - 1 - used)) > 0;) used += (size_t)n;
    out[used] = '\0';
    close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void expect(const char *command, int code, const char *in_out, const char *in_err) {
    const int got = sh(command);
    if (got != code || !strstr(out, in_out) || !strstr(err, in_err))
        fail_msg("%s: exit %d instead of %d, or not '%s' in\n%s\nor not '%s' in\n%s", command, got, code,
                 in_out, out, in_err, err);
    if (code == 2) assert_null(strstr(out, "[OK]")); /* nothing was run */
}

static inline int count_of(const char *text, const char *part) {
    int count = 0;
    for (const char *p = strstr(text, part); p; p = strstr(p + 1, part)) count++;
    return count;
}

static inline json_t *json_file(const char *path) {
    json_error_t why;
    json_t *json = json_load_file(path, 0, &why);
    if (!json) fail_msg("%s:%d: %s", path, why.line, why.text);
    return json;
}

static inline json_int_t total(const json_t *report, const char *name) {
    return json_integer_value(json_object_get(json_object_get(report, "totals"), name));
}

#define MATRIX                                               \
    "groups:\n"                                              \
    "  - name: first\n"                                      \
    "    axes: {M: [1, 2, 3], E: 2, topk: 1, K: 16, N: 8}\n" \
    "    pairs: [path=runner]\n"                             \
    "  - name: second & <third>\n"                           \
    "    axes: {M: 2, E: 2, topk: 2, K: 16, N: 8}\n"

static inline int set_up(void **state) {
    (void)state;
    char path[8192];
    if (!mkdtemp(folder) || chdir(folder)) return -1;
    if (mkdir("bin", 0777) || symlink(MP_PROGRAM, "bin/moeparity")) return -1;
    snprintf(path, sizeof path, "%s/bin:%s", folder, getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("CASES", MP_CASES, 1);
    setenv("CUDA_VISIBLE_DEVICES", "", 1); /* a machine with a GPU shall answer as one without */
    unsetenv("MOEPARITY_REQUIRE_GPU");
    signal(SIGINT, SIG_DFL); /* ignored in a shell's background, and under nohup */
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    write_file("ok.yaml", MATRIX);
    write_file("broken.yaml", "groups: [\n");
    write_file("key.yaml", "groups:\n  - name: a\n    axis: {M: 3}\n");
    write_file("impossible.yaml", "groups:\n  - name: a\n    axes: {act: relu2}\n");
    write_file("value.yaml", "groups:\n  - name: a\n    axes: {M: [1, many]}\n");
    write_file("long.yaml", "groups:\n  - name: a\n    axes: {M: 256, seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "
                            "10, 11, 12, 13, 14, 15]}\n");
    write_file("junk.h5", "no HDF5");
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return chdir("/") || system(command);
}

static inline void no_temporary_files(void) {
    DIR *here = opendir(".");
    assert_non_null(here);
    for (const struct dirent *entry = readdir(here); entry; entry = readdir(here))
        assert_null(strstr(entry->d_name, ".tmp."));
    closedir(here);
}

/* Waits until the command has printed `text`, then sends the signal: to its whole group, as a terminal does,
 * or SIGTERM to it alone, as kill does. */
static inline int interrupt_after(const char *command, const char *text, int signal_number) {
    const pid_t pid = start(command);
    for (int i = 0; i < 3000; i++) {
        read_into(out, sizeof out, "out");
        if (strstr(out, text)) break;
        usleep(10000);
    }
    kill(signal_number == SIGTERM ? pid : -pid, signal_number);
    return finish(pid);
}

#endif
