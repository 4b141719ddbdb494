/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/record.h"

#include <stdio.h>
#include <string.h>

/* A text of the provenance, whole or not at all. */
static mp_status put(const char *what, char *field, size_t size, const char *text, mp_error *err) {
    if (strlen(text) >= size)
        return mp_fail(err, MP_EINPUT, "%s of %zu bytes; a golden file has room for %zu", what, strlen(text),
                       size - 1);
    strcpy(field, text);
    return MP_OK;
}

mp_status mp_record_begin(const mp_record_options *options, const mp_subject *subject, mp_golden **golden,
                          mp_error *err) {
    mp_provenance who = options->who;
    const char *compiler = options->who.versions;
    char versions[sizeof subject->versions + 2 + sizeof who.versions];
    *golden = NULL;
    snprintf(versions, sizeof versions, "%s%s%s", subject->versions,
             subject->versions[0] && compiler[0] ? ", " : "", compiler);
    strcpy(who.origin, strcmp(subject->name, "host") == 0 ? "predicted sm_90" : "executed");
    if (subject->device[0]) strcpy(who.device, subject->device);
    mp_status status = put("a subject's name", who.subject, sizeof who.subject, subject->name, err);
    if (status == MP_OK) status = put("versions", who.versions, sizeof who.versions, versions, err);
    if (status == MP_OK) status = mp_golden_create(options->path, &who, options->digest_above, golden, err);
    if (status == MP_OK && options->inputs) mp_golden_store_inputs(*golden);
    return status;
}

mp_status mp_record_case(mp_golden *golden, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                         const mp_trace *trace, mp_error *err) {
    char config[160], up[64], down[64];
    mp_tile_text(&offer->config.up, up);
    mp_tile_text(&offer->config.down, down);
    snprintf(config, sizeof config, "%s %s", up, down);
    return mp_golden_write(golden, c, &offer->contract, config, trace, in, err);
}
