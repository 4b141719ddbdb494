#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mp_status mp_file_read(const char *path, char **data, size_t *size, mp_error *err) {
    mp_status status = MP_EIO;
    char *buffer = NULL;
    size_t used = 0, capacity = 1 << 16;
    *data = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        mp_fail(err, status, "cannot open %s: %s", path, strerror(errno));
        goto out;
    }
    struct stat info;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) capacity = (size_t)info.st_size + 2; /* a hint: the file may grow; its NUL, and one to see the end */
    for (;;) {
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

static bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        data += done;
        size -= (size_t)done;
    }
    return true;
}

mp_status mp_file_replace(const char *path, const void *data, size_t size, mp_error *err) {
    mp_status status = MP_EIO;
    char temporary[PATH_MAX] = "";
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* a rename would replace a device or a pipe by a file */
        return mp_fail(err, status, "cannot write %s: it exists and is not a regular file", path);
    }
    int length = snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary) {
        return mp_fail(err, status, "cannot write %s: the path has %zu characters, more than the system takes", path, strlen(path));
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        mp_fail(err, status, "cannot create %s: %s", temporary, strerror(errno));
        goto out;
    }
    bool written = write_all(fd, data, size) && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && written) { /* network file systems report a full disk here */
        written = false;
        reason = errno;
    }
    if (!written) {
        mp_fail(err, status, "cannot write %zu bytes to %s: %s", size, temporary, strerror(reason));
        goto out;
    }
    if (rename(temporary, path) != 0) {
        mp_fail(err, status, "cannot rename %s to %s: %s", temporary, path, strerror(errno));
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
    if (!partial) return mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes for the path %s", strlen(path) + 1, path);
    mp_status status = MP_OK;
    for (char *end = partial; status == MP_OK && end;) {
        end = strchr(end + (*end != '\0'), '/'); /* behind a leading slash, then behind each component */
        if (end) *end = '\0';
        if (mkdir(partial, 0777) != 0) {
            int reason = errno; /* of a path that is there mkdir says EEXIST, or EROFS on a read-only file system */
            if (!is_directory(partial)) status = mp_fail(err, MP_EIO, "cannot create the directory %s: %s", partial, strerror(reason));
        }
        if (end) *end = '/';
    }
    free(partial);
    return status;
}
