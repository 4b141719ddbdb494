/* SPDX-License-Identifier: Apache-2.0 */
/* Where a loader looks: a folder that was named, the environment's, an installed package's. */
#include "harness/tune/which/which.h"

#include "base/process.h"
#include "kernels/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Takes the path over; NULL is no memory. */
static mp_status add_root(mp_which *w, char *folder, bool own, mp_error *err) {
    if (!folder) return mp_fail(err, MP_EMEMORY, "no memory for a folder");
    w->folder[w->root_count] = folder;
    w->root[w->root_count++] = (mp_root){folder, own};
    return MP_OK;
}

static char *join(const char *a, const char *b) {
    char *path = NULL;
    return asprintf(&path, "%s%s%s", a, *b ? "/" : "", b) < 0 ? NULL : path;
}

static mp_status set_where(mp_which *w, mp_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static mp_status set_where(mp_which *w, mp_error *err, const char *format, ...) {
    mp_text text = {0};
    va_list args;
    va_start(args, format);
    mp_text_vadd(&text, format, args);
    va_end(args);
    free(w->where);
    w->where = mp_text_steal(&text);
    return w->where ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for a text");
}

/* A folder that was named: a package, the folder in which one is installed, or one for the variable. */
static mp_status named_folder(mp_which *w, const char *path, mp_error *err) {
    const mp_loader *loader = w->loader;
    char *inside = NULL;
    if (!is_folder(path))
        return mp_fail(err, MP_EINPUT,
                       "--%s %s: not a folder; expected the package, or a folder of tuned files",
                       loader->name, path);
    char *own = join(path, loader->own_folder), *below = join(path, loader->name);
    inside = below ? join(below, loader->own_folder) : NULL;
    char *found = own && is_folder(own) ? own : inside && is_folder(inside) ? inside : NULL;
    mp_status status;
    if (found) {
        status = set_where(w, err, "the package in %s", path);
        if (status == MP_OK) status = add_root(w, strdup(found), true, err);
    } else {
        status = set_where(w, err, "%s, as %s names it", path, loader->variable);
        if (status == MP_OK) status = add_root(w, join(path, loader->below_variable), false, err);
        if (status == MP_OK && !is_folder(w->root[0].folder))
            status = mp_fail(err, MP_EINPUT, "--%s %s: neither the package (%s) nor a folder with %s/ in it",
                             loader->name, path, loader->own_folder, loader->below_variable);
    }
    free(own);
    free(below);
    free(inside);
    return status;
}

/* Asks Python where a package is, without importing it; NULL: nowhere, or no Python. */
static char *installed(const char *package) {
    enum { SECONDS = 20 };
    static const char code[] =
        "import importlib.util, os, sys\n"
        "sys.path[:] = [p for p in sys.path if p]\n"
        "found = importlib.util.find_spec(sys.argv[1])\n"
        "places = list(found.submodule_search_locations or []) if found else []\n"
        "os.write(4, (places[0] if places else '').encode('utf-8', 'surrogateescape'))\n";
    mp_process python;
    char path[PATH_MAX];
    ssize_t length = -1;
    int status;
    const char *const argv[] = {"python3", "-c", code, package, NULL};
    if (mp_process_start(argv, (const char *const[]){"PYTHONDONTWRITEBYTECODE=1", NULL}, -1, &python, NULL) !=
        MP_OK)
        return NULL;
    const int from = dup(python.from);
    if (from >= 0 && mp_process_wait(&python, SECONDS, &status)) length = read(from, path, sizeof path - 1);
    mp_process_kill(&python);
    if (from >= 0) close(from);
    if (length <= 0) return NULL;
    path[length] = '\0';
    return strdup(path);
}

static mp_status environment(mp_which *w, mp_error *err) {
    const char *variable, *folder = mp_tuned_folder((int)(w->loader - mp_loaders), &variable);
    mp_status status = MP_OK;
    if (folder) {
        if (!is_folder(folder))
            return mp_fail(err, MP_EINPUT, "%s=%s: not a folder; expected one with tuned configurations",
                           variable, folder);
        status = set_where(w, err, "%s=%s", variable, folder);
        if (status == MP_OK) status = add_root(w, join(folder, w->loader->below_variable), false, err);
        if (status != MP_OK || w->loader->variable_replaces) return status;
    }
    char *package = installed(w->loader->name), *own = package ? join(package, w->loader->own_folder) : NULL;
    if (own && is_folder(own)) {
        status = set_where(w, err, "%s%sthe package in %s", folder ? w->where : "", folder ? ", then " : "",
                           package);
        if (status == MP_OK) status = add_root(w, strdup(own), true, err);
    }
    free(package);
    free(own);
    return status;
}

mp_status mp_which_folders(const mp_which_query *query, mp_which *w, mp_error *err) {
    const char *named = query->folder[w->loader - mp_loaders];
    bool any = false;
    for (int i = 0; i < MP_LOADER_COUNT; i++) any = any || query->folder[i];
    mp_status status = set_where(w, err, "%s", "");
    if (status == MP_OK && named) return named_folder(w, named, err);
    return status == MP_OK && !any ? environment(w, err) : status;
}
