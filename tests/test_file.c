/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64]; /* fresh for every test */

static int make_directory(void **state) {
    (void)state;
    strcpy(directory, "/tmp/moeparity.test_file.XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

static const char *in_directory(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static int entries(void) {
    int count = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static void assert_content(const char *path, const char *expected, size_t size) {
    char *data = NULL;
    size_t got = 0;
    mp_error err = {0};
    assert_int_equal(mp_file_read(path, &data, &got, &err), MP_OK);
    assert_int_equal(got, size);
    assert_memory_equal(data, expected, size);
    assert_int_equal(data[size], '\0');
    free(data);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    mp_error err = {0};
    const char *path = in_directory("file");
    static char large[300000];
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * i >> 3);
    static const size_t sizes[] = {0, 1, 65535, 65536, sizeof large, 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(mp_file_replace(path, large, sizes[i], &err), MP_OK);
        assert_content(path, large, sizes[i]);
        assert_int_equal(entries(), 1);
    }
}

static void files_of_unknown_size_are_read_to_the_end(void **state) {
    (void)state;
    char *data = NULL;
    size_t size = 0;
    assert_int_equal(mp_file_read("/proc/self/maps", &data, &size, NULL), MP_OK); /* says it has 0 bytes */
    assert_true(size > 100 && data[size - 1] == '\n');
    free(data);
}

static void unreadable_paths_are_errors(void **state) {
    (void)state;
    char *data = (char *)1;
    size_t size = 1;
    mp_error err = {0};
    const char *missing = in_directory("missing");
    assert_int_equal(mp_file_read(missing, &data, &size, &err), MP_EIO);
    assert_null(data);
    assert_non_null(strstr(err.text, missing));
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(mp_file_read(directory, &data, &size, &err), MP_EIO);
    assert_non_null(strstr(err.text, "directory"));
}

/* Whatever a path leads to, the answer comes at once: a FIFO that nobody writes to must not be waited for. */
static void only_regular_files_are_read(void **state) {
    (void)state;
    char *data = (char *)1;
    size_t size = 1;
    mp_error err = {0};
    char fifo[256], link[256], socket_path[128];
    snprintf(fifo, sizeof fifo, "%s", in_directory("fifo"));
    snprintf(link, sizeof link, "%s", in_directory("link"));
    snprintf(socket_path, sizeof socket_path, "%s", in_directory("socket"));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink(fifo, link), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", socket_path);
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    const struct {
        const char *path, *is;
    } others[] = {{fifo, "a FIFO"},
                  {link, "a FIFO"},
                  {directory, "a directory"},
                  {"/dev/zero", "a device"},
                  {socket_path, "No such device or address"}};
    alarm(20);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char expected[300];
        snprintf(expected, sizeof expected, "%s: %s; expected a regular file", others[i].path, others[i].is);
        assert_int_equal(mp_file_read(others[i].path, &data, &size, &err), MP_EIO);
        assert_string_equal(err.text, expected);
        assert_null(data);
    }
    alarm(0);
    close(listener);
}

static void what_may_not_be_read_says_so(void **state) {
    (void)state;
    char *data = NULL;
    size_t size = 0;
    mp_error err = {0};
    const char *path = in_directory("secret");
    assert_int_equal(mp_file_replace(path, "x", 1, &err), MP_OK);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(directory, 0755), 0);
    const uid_t user = geteuid();
    if (user == 0) assert_int_equal(seteuid(65534), 0); /* root may read anything */
    const mp_status status = mp_file_read(path, &data, &size, &err);
    if (user == 0) assert_int_equal(seteuid(user), 0);
    assert_int_equal(status, MP_EIO);
    assert_non_null(strstr(err.text, "secret: Permission denied"));
}

static void too_large_a_file_is_refused(void **state) {
    (void)state;
    char *data = NULL;
    size_t size = 0;
    mp_error err = {0};
    const char *path = in_directory("file");
    assert_int_equal(mp_file_replace(path, "0123456789", 10, &err), MP_OK);
    assert_int_equal(mp_file_read_at_most(path, 10, &data, &size, &err), MP_OK);
    assert_int_equal(size, 10);
    free(data);
    assert_int_equal(mp_file_read_at_most(path, 9, &data, &size, &err), MP_EIO);
    assert_non_null(strstr(err.text, "file: 10 bytes; expected at most 9"));
    assert_null(data);
    assert_int_equal(truncate(path, (off_t)1 << 40), 0); /* a hole: nothing of it is on the disk */
    assert_int_equal(mp_file_read(path, &data, &size, &err), MP_EIO);
    assert_non_null(strstr(err.text, "file: 1099511627776 bytes; expected at most "));
    /* it says to have 0 bytes, and has more */
    assert_int_equal(mp_file_read_at_most("/proc/self/maps", 100, &data, &size, &err), MP_EIO);
    assert_non_null(strstr(err.text, "expected at most 100"));
    assert_null(data);
}

/* A file size limit stops the write half way, as a full disk does. */
static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    static char large[100000];
    const char *path = in_directory("file");
    mp_error err = {0};
    assert_int_equal(mp_file_replace(path, "old", 3, &err), MP_OK);

    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 50000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    mp_status status = mp_file_replace(path, large, sizeof large, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);

    assert_int_equal(status, MP_EIO);
    assert_non_null(strstr(err.text, "File too large"));
    assert_content(path, "old", 3);
    assert_int_equal(entries(), 1);
}

static void unwritable_places_are_errors(void **state) {
    (void)state;
    mp_error err = {0};
    assert_int_equal(mp_file_replace(in_directory("no/such/file"), "x", 1, &err), MP_EIO);
    assert_int_equal(mp_file_replace(in_directory("file"), "old", 3, &err), MP_OK);
    assert_int_equal(mp_file_replace(in_directory("file/below"), "x", 1, &err), MP_EIO);
    assert_int_equal(mp_file_replace(directory, "x", 1, &err), MP_EIO);
    char longest[5000];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(mp_file_replace(longest, "x", 1, &err), MP_EIO);

    uid_t user = geteuid();
    assert_int_equal(chmod(directory, 0555), 0);
    if (user == 0) assert_int_equal(seteuid(65534), 0); /* root may write anywhere */
    mp_status status = mp_file_replace(in_directory("file"), "new", 3, &err);
    if (user == 0) assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(directory, 0755), 0);
    assert_int_equal(status, MP_EIO);
    assert_content(in_directory("file"), "old", 3);
    assert_int_equal(entries(), 1);
}

static void devices_are_not_replaced_by_files(void **state) {
    (void)state;
    mp_error err = {0};
    struct stat info;
    const char *path = in_directory("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mp_file_replace(path, "x", 1, &err), MP_EIO);
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_non_null(strstr(err.text, "regular"));
}

static void a_link_stays_and_its_file_is_replaced(void **state) {
    (void)state;
    mp_error err = {0};
    struct stat info;
    char link[256], file[256];
    snprintf(file, sizeof file, "%s", in_directory("file"));
    snprintf(link, sizeof link, "%s", in_directory("link"));
    assert_int_equal(mp_file_replace(file, "old", 3, &err), MP_OK);
    assert_int_equal(symlink(file, link), 0);
    assert_int_equal(mp_file_writable(link, &err), MP_OK);
    assert_int_equal(mp_file_replace(link, "new", 3, &err), MP_OK);
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_content(file, "new", 3);

    assert_int_equal(unlink(file), 0);
    assert_int_equal(mp_file_writable(link, &err), MP_EIO);
    assert_non_null(strstr(err.text, "leads nowhere"));
    assert_int_equal(mp_file_replace(link, "x", 1, &err), MP_EIO);
    assert_int_equal(mp_file_replace("", "x", 1, &err), MP_EIO);
    assert_int_equal(unlink(link), 0);
}

static void directories_and_their_parents_are_made(void **state) {
    (void)state;
    mp_error err = {0};
    struct stat info;
    static const char *const names[] = {"a/b/c", "a/b/c", "a/b/d/", "x//y/./z"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(mp_file_make_directories(in_directory(names[i]), &err), MP_OK);
        assert_int_equal(stat(in_directory(names[i]), &info), 0);
        assert_true(S_ISDIR(info.st_mode));
    }
    assert_int_equal(mp_file_make_directories("/", &err), MP_OK);
    assert_int_equal(mp_file_make_directories(".", &err), MP_OK);
    assert_int_equal(mp_file_replace(in_directory("file"), "x", 1, &err), MP_OK);
    assert_int_equal(mp_file_make_directories(in_directory("file"), &err), MP_EIO);
    assert_int_equal(mp_file_make_directories(in_directory("file/below"), &err), MP_EIO);
    assert_non_null(strstr(err.text, in_directory("file")));
    assert_int_equal(mp_file_make_directories("", &err), MP_EIO);
}

#define file_test(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void) {
    const struct CMUnitTest tests[] = {
        file_test(what_is_written_is_read),
        file_test(files_of_unknown_size_are_read_to_the_end),
        file_test(unreadable_paths_are_errors),
        file_test(only_regular_files_are_read),
        file_test(what_may_not_be_read_says_so),
        file_test(too_large_a_file_is_refused),
        file_test(a_full_disk_leaves_the_old_file),
        file_test(unwritable_places_are_errors),
        file_test(devices_are_not_replaced_by_files),
        file_test(a_link_stays_and_its_file_is_replaced),
        file_test(directories_and_their_parents_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
