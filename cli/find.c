/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/find.h"

#include "base/text.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *folder, *extension;
} supplies[] = {[MP_SUPPLY_MATRIX] = {"cases", ".yaml"}, [MP_SUPPLY_GOLDEN] = {"golden", ".h5"}};

/* Beside the executable, installed or in its build tree: MP_DATA_FROM_PROGRAM leads from its folder to
 * share/moeparity. Freed by the caller; NULL where /proc does not tell. */
static char *folder_of(mp_supply supply) {
    char program[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return NULL;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    *slash = '\0';
    mp_text relative = {0};
    mp_text_add(&relative, "%s/" MP_DATA_FROM_PROGRAM "/%s", program, supplies[supply].folder);
    char *folder = realpath(mp_text_get(&relative), NULL);
    mp_text_free(&relative);
    return folder;
}

char *mp_find(mp_supply supply, const char *name) {
    char *folder = strchr(name, '/') || access(name, F_OK) == 0 ? NULL : folder_of(supply), *found = NULL;
    for (int i = 0; folder && name[0] && i < 2 && !found; i++) {
        mp_text path = {0};
        mp_text_add(&path, "%s/%s%s", folder, name, i == 0 ? "" : supplies[supply].extension);
        if (access(mp_text_get(&path), R_OK) == 0) found = mp_text_steal(&path);
        mp_text_free(&path);
    }
    free(folder);
    return found ? found : strdup(name);
}

static mp_supply listed; /* scandir's filter takes no argument */

static int is_listed(const struct dirent *entry) {
    const size_t length = strlen(entry->d_name), end = strlen(supplies[listed].extension);
    return length > end && strcmp(entry->d_name + length - end, supplies[listed].extension) == 0;
}

mp_status mp_find_all(mp_supply supply, void (*line)(void *ctx, const char *text), void *ctx, int *count,
                      mp_error *err) {
    struct dirent **entries = NULL;
    char *folder = folder_of(supply);
    listed = supply;
    *count = 0;
    if (!folder) return MP_OK;
    const int found = scandir(folder, &entries, is_listed, alphasort);
    for (int i = 0; i < found; i++) {
        mp_text text = {0};
        mp_text_add(&text, "%-14s %s/%s", entries[i]->d_name, folder, entries[i]->d_name);
        line(ctx, mp_text_get(&text));
        mp_text_free(&text);
        free(entries[i]);
    }
    free(entries);
    const mp_status status = found < 0 ? mp_fail(err, MP_EIO, "cannot list %s: %m", folder) : MP_OK;
    *count = found < 0 ? 0 : found;
    free(folder);
    return status;
}
