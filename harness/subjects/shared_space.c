/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/shared_space.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };
#define MOST_RESERVED ((size_t)1 << 42) /* addresses cost nothing, unless ulimit -v counts them */
#define LEAST_RESERVED ((size_t)1 << 28)

static size_t whole_pages(size_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* The file is as large as it must be; what was used before reads as it was left. */
static mp_status grow(mp_shared_space *s, size_t bytes, mp_error *err) {
    if (bytes <= s->bytes) return MP_OK;
    if (bytes > s->reserved)
        return mp_fail(err, MP_EMEMORY, "%zu bytes of shared memory: there are addresses for %zu", bytes,
                       s->reserved);
    /* The memory is taken now: a page that cannot be had later would be a SIGBUS. */
    const int failed = posix_fallocate(s->descriptor, (off_t)s->bytes, (off_t)(bytes - s->bytes));
    if (failed)
        return mp_fail(err, MP_EMEMORY, "cannot get %zu bytes of shared memory: %s", bytes - s->bytes,
                       strerror(failed));
    s->bytes = bytes;
    return MP_OK;
}

static mp_status shared_alloc(void *self, size_t bytes, uint32_t poison, void **data, mp_error *err) {
    mp_shared_space *s = self;
    const size_t begin = whole_pages(s->used), most = s->reserved;
    *data = NULL;
    if (bytes > most || begin + bytes > most) /* no overflow below */
        return mp_fail(err, MP_EMEMORY, "cannot allocate %zu bytes of shared memory", bytes);
    const size_t end = begin + MP_GUARD_BYTES + bytes + MP_GUARD_BYTES;
    const mp_status status = grow(s, whole_pages(end), err);
    if (status != MP_OK) return status;
    char *content = s->mapped + begin + MP_GUARD_BYTES;
    mp_fill_pattern(content - MP_GUARD_BYTES, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(content, bytes, poison);
    mp_fill_pattern(content + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    s->used = end;
    s->buffers++;
    *data = content;
    return MP_OK;
}

static void shared_free(void *self, void *data) {
    mp_shared_space *s = self;
    if (!data) return;
    if (--s->buffers == 0) s->used = 0;
}

mp_status mp_shared_space_open(mp_shared_space *s, mp_error *err) {
    *s = (mp_shared_space){.space = mp_host_space, .descriptor = memfd_create("moeparity", MFD_CLOEXEC)};
    s->space.self = s;
    s->space.name = "shared ";
    s->space.keeps = false; /* all is given back when the last buffer is */
    s->space.alloc = shared_alloc;
    s->space.free = shared_free;
    if (s->descriptor < 0)
        return mp_fail(err, MP_EMEMORY, "cannot make a shared memory: %s", strerror(errno));
    void *at = MAP_FAILED;
    for (s->reserved = MOST_RESERVED; at == MAP_FAILED && s->reserved >= LEAST_RESERVED; s->reserved /= 2)
        at = mmap(NULL, s->reserved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->descriptor, 0);
    if (at == MAP_FAILED) {
        const int why = errno;
        mp_shared_space_close(s);
        return mp_fail(err, MP_EMEMORY, "no addresses for a shared memory: %s", strerror(why));
    }
    s->reserved *= 2; /* the loop has halved it once more */
    s->mapped = at;
    return MP_OK;
}

void mp_shared_space_close(mp_shared_space *s) {
    if (s->mapped) munmap(s->mapped, s->reserved);
    if (s->descriptor >= 0) close(s->descriptor);
    s->mapped = NULL;
    s->descriptor = -1;
}

size_t mp_shared_space_offset(const mp_shared_space *s, const void *data) {
    return (size_t)((const char *)data - s->mapped);
}
