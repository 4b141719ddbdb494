/* SPDX-License-Identifier: Apache-2.0 */
/* golden/ on damaged files: every byte of a small golden is changed, one at a time, in the format of this
 * program, where checksums guard everything but free space, and in the oldest format of HDF5, where nothing
 * is guarded. Each file must be refused with MP_EINPUT or read, at once. The readers run in a child, for
 * libhdf5 itself may not survive what it reads: such deaths are counted, and belong to it unless
 * AddressSanitizer says that they are ours. */
#include "golden/files.h"
#include "tests/golden_h5py.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

/* What the children tell: they share it with their parent. */
typedef struct progress {
    size_t at; /* the change that is being tried */
    size_t read, refused, wrong;
    char wrong_text[sizeof err.text];
} progress;

/* Far more than any file here takes: of the processor, and in all, should it wait for something. */
#define MOST_MILLISECONDS 400
#define MOST_SECONDS 60

/* cmocka catches what kills a test; a child is to die of it, or to be reported by AddressSanitizer. */
static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static struct sigaction before_cmocka[sizeof deadly / sizeof *deadly];

/* A single bit, or all of them. */
static char changed(const char *data, size_t offset) {
    return (char)(data[offset] ^ (offset % 3 == 2 ? 0xff : 1 << (offset * 5 % 8)));
}

static void read_everything(const mp_trace *trace, progress *p) {
    mp_golden *golden = NULL;
    const mp_case c = case_with_seed(0);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    int count;
    mp_status status = mp_golden_open(path, &golden, &err);
    if (status == MP_OK) {
        const mp_status check = mp_golden_check(golden, &err);
        status = compare_with(golden, &c, trace, diff, &count);
        if (check != MP_OK && check != MP_EINPUT) status = check;
        if (status == MP_OK) status = check;
    }
    mp_golden_close(golden);
    if (status == MP_OK) {
        p->read++;
    } else if (status == MP_EINPUT) {
        p->refused++;
    } else {
        if (p->wrong++ == 0) memcpy(p->wrong_text, err.text, sizeof err.text);
    }
}

static _Noreturn void try_changes(const char *data, size_t size, const mp_trace *trace, progress *p,
                                  const char *log) {
    const int fd = open(path, O_WRONLY), messages = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || messages < 0 || dup2(messages, STDERR_FILENO) < 0) _exit(126);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) sigaction(deadly[i], &before_cmocka[i], NULL);
#ifndef __SANITIZE_ADDRESS__
    setrlimit(RLIMIT_AS, &(struct rlimit){(rlim_t)1 << 30, (rlim_t)1 << 30});
#endif
    for (; p->at < size; p->at++) {
        const off_t offset = (off_t)p->at;
        const char byte = changed(data, p->at);
        if (pwrite(fd, &byte, 1, offset) != 1) _exit(126);
        alarm(MOST_SECONDS);
        setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_usec = MOST_MILLISECONDS * 1000}}, NULL);
        read_everything(trace, p);
        if (pwrite(fd, &data[offset], 1, offset) != 1) _exit(126);
    }
    _exit(0);
}

/* Whether the report of a sanitizer blames this program: of the frames, innermost first, one in its sources
 * comes before one in libhdf5. Without a sanitizer there is no report, and no answer. */
static bool is_ours(const char *log) {
    char *text = NULL, *rest = NULL;
    size_t size = 0;
    bool ours = false;
    if (mp_file_read(log, &text, &size, NULL) != MP_OK) return false;
    ours = strstr(text, "runtime error: ") != NULL; /* of what is compiled with the sanitizer: not libhdf5 */
    for (char *line = strtok_r(text, "\n", &rest); line && !ours; line = strtok_r(NULL, "\n", &rest)) {
        if (line[strspn(line, " ")] != '#') continue;
        if (strstr(line, "libhdf5")) break;
        ours = strstr(line, "/golden/") || strstr(line, "/base/") || strstr(line, "/cases/");
        if (ours) fprintf(stderr, "%s\n", line);
    }
    free(text);
    return ours;
}

static void try_all(const mp_trace *trace, size_t *read, size_t *refused) {
    char *data, log[128];
    size_t size, deaths = 0, hangs = 0;
    int status;
    snprintf(log, sizeof log, "%s/log", directory);
    read_whole(&data, &size);
    progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    for (; p->at < size; p->at++) {
        write_whole(data, size);
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) try_changes(data, size, trace, p, log);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 126);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
            hangs++;
        else
            deaths++;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            fail_msg("the change of byte %zu waits for something", p->at);
        if (is_ours(log)) fail_msg("the change of byte %zu kills our own code", p->at);
    }
    print_message("%zu bytes: %zu changes read, %zu refused, %zu deaths and %zu hangs of libhdf5\n", size,
                  p->read, p->refused, deaths, hangs);
    if (p->wrong > 0) fail_msg("%zu files were neither read nor refused: %s", p->wrong, p->wrong_text);
    assert_int_equal(p->read + p->refused + deaths + hangs, size);
    *read = p->read;
    *refused = p->refused;
    munmap(p, sizeof *p);
    free(data);
}

/* Small, and with all that a golden can hold: tensors in full and as digests, attributes, inputs. */
static void guarded_by_checksums(void **state) {
    (void)state;
    size_t read, refused;
    mp_golden *golden;
    mp_inputs inputs = {0};
    const mp_case c = case_with_seed(0);
    mp_trace plan = planned_trace(30), trace = {.block_size_m = 16};
    trace.t[MP_NUM_TOKENS_POST_PADDED] = plan.t[MP_NUM_TOKENS_POST_PADDED];
    trace.t[MP_OUT] = plan.t[MP_OUT];
    inputs.t[MP_TOPK_IDS] = random_tensor(MP_I32, 2, 4, 2, 1);
    OK(mp_golden_create(path, &who, 40, &golden, &err));
    mp_golden_store_inputs(golden);
    OK(mp_golden_write(golden, &c, any_contract(), "default", &trace, &inputs, &err));
    OK(mp_golden_commit(golden, &err));
    try_all(&trace, &read, &refused);
    assert_true(refused > read / 4);
    free_trace(&plan);
    mp_tensor_free(&inputs.t[MP_TOPK_IDS]);
}

static void not_guarded_at_all(void **state) {
    (void)state;
    size_t read, refused;
    mp_trace plan = planned_trace(31), trace = {.block_size_m = 16};
    trace.t[MP_OUT] = plan.t[MP_OUT];
    write_like_h5py(&trace, &(mp_inputs){0});
    try_all(&trace, &read, &refused);
    assert_true(read > 0 && refused > 0);
    free_trace(&plan);
}

int main(void) {
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) sigaction(deadly[i], NULL, &before_cmocka[i]);
    const struct CMUnitTest tests[] = {
        TEST(guarded_by_checksums),
        TEST(not_guarded_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
