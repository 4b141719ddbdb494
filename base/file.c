/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_of_file(mode_t mode) {
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

mp_status mp_file_open(const char *path, const char *what, int *fd, size_t *size, mp_error *err) {
    struct stat info;
    *size = 0;
    /* Without O_NONBLOCK the open of a FIFO waits for somebody who writes. */
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd < 0) return mp_fail(err, MP_EIO, "%s: %s; expected %s", path, strerror(errno), what);
    const int reason = fstat(*fd, &info) == 0 ? 0 : errno;
    if (reason == 0 && S_ISREG(info.st_mode)) {
        *size = (size_t)info.st_size;
        return MP_OK;
    }
    close(*fd);
    *fd = -1;
    return mp_fail(err, MP_EIO, "%s: %s; expected %s", path,
                   reason ? strerror(reason) : kind_of_file(info.st_mode), what);
}

mp_status mp_file_read_at_most(const char *path, size_t most, char **data, size_t *size, mp_error *err) {
    char *buffer = NULL;
    size_t used = 0, told = 0;
    int fd = -1;
    *data = NULL;
    *size = 0;
    mp_status status = mp_file_open(path, "a regular file", &fd, &told, err);
    if (status != MP_OK) goto out;
    /* What the file says is a hint: it may grow, and what /proc holds says 0. Its NUL, and one to see the
     * end. */
    size_t capacity = (told <= most && told > 0 ? told : 1 << 16) + 2;
    status = MP_EIO;
    for (;;) {
        if (told > most || used > most) {
            mp_fail(err, status, "%s: %zu bytes; expected at most %zu", path, told > most ? told : used,
                    most);
            goto out;
        }
        char *larger = realloc(buffer, capacity);
        if (!larger) {
            status = mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes to read %s", capacity, path);
            goto out;
        }
        buffer = larger;
        ssize_t got = read(fd, buffer + used, capacity - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            mp_fail(err, status, "cannot read %s: %s", path, strerror(errno));
            goto out;
        }
        if (got == 0) break;
        used += (size_t)got;
        if (used == capacity - 1) capacity *= 2;
    }
    buffer[used] = '\0';
    *data = buffer;
    *size = used;
    buffer = NULL;
    status = MP_OK;
out:
    free(buffer);
    if (fd >= 0) close(fd);
    return status;
}

mp_status mp_file_read(const char *path, char **data, size_t *size, mp_error *err) {
    return mp_file_read_at_most(path, MP_FILE_MOST_BYTES, data, size, err);
}

bool mp_write_all(int fd, const void *data, size_t size) {
    for (const char *p = data; size > 0;) {
        const ssize_t done = write(fd, p, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        p += done;
        size -= (size_t)done;
    }
    return true;
}

/* The file that `path` names or, through links, leads to; it need not be there. A rename over anything but a
 * regular file would replace a device, a pipe or a link by a file. */
static mp_status find_target(const char *path, char target[PATH_MAX], mp_error *err) {
    struct stat info, own;
    if (path[0] == '\0') return mp_fail(err, MP_EIO, "cannot write a file without a name");
    if (stat(path, &info) != 0) {
        if (lstat(path, &info) == 0)
            return mp_fail(err, MP_EIO, "cannot write %s: %s", path,
                           S_ISLNK(info.st_mode) ? "a link that leads nowhere" : strerror(errno));
        if (snprintf(target, PATH_MAX, "%s", path) < PATH_MAX) return MP_OK;
        return mp_fail(err, MP_EIO,
                       "cannot write %s: the path has %zu characters, more than the system takes", path,
                       strlen(path));
    }
    if (!S_ISREG(info.st_mode))
        return mp_fail(err, MP_EIO, "cannot write %s: it exists and is not a regular file", path);
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fstat(fd, &own) == 0 && own.st_dev == info.st_dev && own.st_ino == info.st_ino)
            return mp_fail(err, MP_EIO, "cannot write %s: this program's own output goes there", path);
    return realpath(path, target) ? MP_OK
                                  : mp_fail(err, MP_EIO, "cannot write %s: %s", path, strerror(errno));
}

/* Opens a new file beside the target, whose name is returned too. -1 with the error. */
static int open_temporary(const char *path, char target[PATH_MAX], char temporary[PATH_MAX], mp_error *err) {
    if (find_target(path, target, err) != MP_OK) return -1;
    const int length = snprintf(temporary, PATH_MAX, "%s.tmp.%ld", target, (long)getpid());
    if (length >= PATH_MAX) {
        mp_fail(err, MP_EIO, "cannot write %s: the path has %zu characters, more than the system takes", path,
                strlen(path));
        return -1;
    }
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) mp_fail(err, MP_EIO, "cannot write %s (%s): %s", path, temporary, strerror(errno));
    return fd;
}

mp_status mp_file_writable(const char *path, mp_error *err) {
    char target[PATH_MAX], temporary[PATH_MAX];
    const int fd = open_temporary(path, target, temporary, err);
    if (fd < 0) return MP_EIO;
    close(fd);
    unlink(temporary);
    return MP_OK;
}

/* Where the path leads: through links as far as there are files, of a file that is not there the folder and
 * its name. */
static bool resolve(const char *path, char resolved[PATH_MAX]) {
    char folder[PATH_MAX], name[PATH_MAX];
    if (realpath(path, resolved)) return true;
    if (strlen(path) >= PATH_MAX) return false;
    strcpy(folder, path);
    strcpy(name, path);
    if (!realpath(dirname(folder), resolved)) return false;
    const size_t used = strlen(resolved);
    return snprintf(resolved + used, PATH_MAX - used, "/%s", basename(name)) < (int)(PATH_MAX - used);
}

bool mp_file_same(const char *a, const char *b) {
    char x[PATH_MAX], y[PATH_MAX];
    return resolve(a, x) && resolve(b, y) && strcmp(x, y) == 0;
}

mp_status mp_file_replace(const char *path, const void *data, size_t size, mp_error *err) {
    return mp_file_replace_parts(path, &(mp_part){data, size}, 1, err);
}

mp_status mp_file_replace_parts(const char *path, const mp_part *parts, size_t count, mp_error *err) {
    size_t size = 0;
    char target[PATH_MAX], temporary[PATH_MAX];
    mp_status status = MP_EIO;
    const int fd = open_temporary(path, target, temporary, err);
    if (fd < 0) return status;
    bool written = true;
    for (size_t i = 0; i < count; size += parts[i++].size)
        written = written && mp_write_all(fd, parts[i].data, parts[i].size);
    written = written && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && written) { /* network file systems report a full disk here */
        written = false;
        reason = errno;
    }
    if (!written) {
        mp_fail(err, status, "cannot write %zu bytes to %s (%s): %s", size, path, temporary,
                strerror(reason));
        goto out;
    }
    if (rename(temporary, target) != 0) {
        mp_fail(err, status, "cannot rename %s to %s: %s", temporary, target, strerror(errno));
        goto out;
    }
    status = MP_OK;
out:
    if (status != MP_OK) unlink(temporary);
    return status;
}

static bool is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

mp_status mp_file_make_directories(const char *path, mp_error *err) {
    char *partial = strdup(path);
    if (!partial)
        return mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes for the path %s", strlen(path) + 1, path);
    mp_status status = MP_OK;
    for (char *end = partial; status == MP_OK && end;) {
        end = strchr(end + (*end != '\0'), '/'); /* behind a leading slash, then behind each component */
        if (end) *end = '\0';
        if (mkdir(partial, 0777) != 0) {
            int reason =
                errno; /* of a path that is there mkdir says EEXIST, or EROFS on a read-only file system */
            if (!is_directory(partial))
                status =
                    mp_fail(err, MP_EIO, "cannot create the directory %s: %s", partial, strerror(reason));
        }
        if (end) *end = '/';
    }
    free(partial);
    return status;
}
