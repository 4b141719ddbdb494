/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects that are shared libraries: moeparity/plugin.h. */
#ifndef MP_HARNESS_PLUGIN_H
#define MP_HARNESS_PLUGIN_H

#include "moeparity/subject.h"

#define MP_PLUGIN_PREFIX "plugin:"

/* The file of a subject `plugin:PATH[,words]`, which the caller frees; NULL for another one, or no memory. */
char *mp_plugin_path(const char *name);

/* Loads the library of `plugin:PATH[,words]`, opens it, and makes it a subject. A path without a slash is one
 * of the current folder. MP_EINPUT: no such library, one that does not load, exports no moeparity_plugin, has
 * another ABI or lacks a function, or says that the words are wrong; MP_EUNSUPPORTED: it cannot run here. */
mp_status mp_plugin_open(const char *name, mp_subject *s, mp_error *err);

#endif
