/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/includes.h"

#include <string.h>

static const struct mp_device_text *text_named(const mp_device_texts *texts, const char *name,
                                               size_t length) {
    for (int i = 0; i < texts->count; i++)
        if (strncmp(texts->files[i].name, name, length) == 0 && !texts->files[i].name[length])
            return &texts->files[i];
    return NULL;
}

/* The name that a line includes, up to its quote; NULL for any other line. */
static const char *included_name(const char *line, size_t *length) {
    line += strspn(line, " \t");
    if (*line++ != '#') return NULL;
    line += strspn(line, " \t");
    if (strncmp(line, "include", 7) != 0) return NULL;
    line += 7 + strspn(line + 7, " \t");
    if (*line++ != '"') return NULL;
    *length = strcspn(line, "\"\n");
    return line;
}

int mp_device_includes(const mp_device_texts *texts, const char *source,
                       const struct mp_device_text *found[MP_MAX_INCLUDES]) {
    int count = 0;
    found[0] = text_named(texts, source, strlen(source));
    if (!found[0]) return 0;
    count = 1;
    for (int i = 0; i < count; i++)
        for (const char *line = found[i]->text; line; line = strchr(line, '\n')) {
            size_t length = 0;
            line += *line == '\n';
            const char *name = included_name(line, &length);
            const struct mp_device_text *text = name ? text_named(texts, name, length) : NULL;
            int known = 0;
            while (text && known < count && found[known] != text) known++;
            if (!text || known < count) continue;
            if (count == MP_MAX_INCLUDES) return -1;
            found[count++] = text;
        }
    return count;
}
