/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/status.h"

#include "base/printable.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* "folder/file.c" of whatever __FILE__ the compiler was given: messages do not depend on where the tree was
 * built. */
static const char *short_path(const char *file) {
    int slashes = 0;
    for (const char *p = file + strlen(file); p > file; p--) {
        if (p[-1] == '/' && ++slashes == 2) return p;
    }
    return file;
}

/* Messages quote files and names of strangers, so every one of them is made one printable line here. */
static void keep(mp_error *err, char *text) {
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\r') *p = ' ';
    mp_text_printable(text, err->text, sizeof err->text);
}

mp_status mp_error_set(mp_error *err, mp_status status, const char *file, int line, const char *format, ...) {
    if (!err) return status;
    char text[4 * sizeof err->text]; /* not err->text itself: an argument may point into it */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (status == MP_EINTERNAL || status == MP_EDEVICE) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " (%s:%d)", short_path(file), line);
    }
    keep(err, text);
    err->status = status;
    return status;
}

void mp_error_prefix(mp_error *err, const char *format, ...) {
    if (!err) return;
    char text[4 * sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strncat(text, ": ", sizeof text - strlen(text) - 1);
    strncat(text, err->text, sizeof text - strlen(text) - 1);
    keep(err, text);
}

const char *mp_status_name(mp_status status) {
    switch (status) {
    case MP_OK: return "ok";
    case MP_EINPUT: return "bad input";
    case MP_EUNSUPPORTED: return "unsupported here";
    case MP_EMEMORY: return "out of memory";
    case MP_EIO: return "input/output error";
    case MP_EDEVICE: return "device error";
    case MP_EINTERNAL: return "internal error";
    }
    return "unknown status";
}
