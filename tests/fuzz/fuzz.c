/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of fuzzers as texts and files. */
#include "fuzz/fuzz.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *fuzz_text(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) abort();
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static char folder[64], path[256];
static pid_t owner;

static void remove_file(void) {
    if (getpid() != owner) return;
    unlink(path);
    rmdir(folder);
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size) {
    if (!*folder) {
        strcpy(folder, "/tmp/moeparity-fuzz-XXXXXX");
        if (!mkdtemp(folder)) abort();
        snprintf(path, sizeof path, "%s/%s", folder, name);
        owner = getpid();
        atexit(remove_file);
    }
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fflush(file) != 0) abort();
    /* A time of its own: a reader may keep what it has read of a file that has not changed. */
    static time_t count;
    count++;
    if (futimens(fileno(file), (struct timespec[]){{count, 0}, {count, 0}}) != 0 || fclose(file) != 0)
        abort();
    return path;
}
