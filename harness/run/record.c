/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/record.h"

#include "base/text.h"

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

mp_status mp_record_who(const mp_record_options *options, const mp_subject *subject, const char *words,
                        mp_provenance *who, mp_error *err) {
    const char *compiler = options->who.versions;
    char versions[sizeof subject->versions + 2 + sizeof who->versions];
    *who = options->who;
    snprintf(versions, sizeof versions, "%s%s%s", subject->versions,
             subject->versions[0] && compiler[0] ? ", " : "", compiler);
    if (strcmp(subject->name, "host") == 0)
        mp_text_fit(who->origin, sizeof who->origin, "predicted %s", words ? words : "sm_90");
    else
        strcpy(who->origin, "executed");
    if (subject->device[0]) strcpy(who->device, subject->device);
    const mp_status status = put("a subject's name", who->subject, sizeof who->subject, subject->name, err);
    return status == MP_OK ? put("versions", who->versions, sizeof who->versions, versions, err) : status;
}

mp_status mp_record_begin(const mp_record_options *options, const mp_subject *subject, const char *words,
                          mp_golden **golden, mp_error *err) {
    mp_provenance who;
    *golden = NULL;
    mp_status status = mp_record_who(options, subject, words, &who, err);
    if (status == MP_OK) status = mp_golden_create(options->path, &who, options->digest_above, golden, err);
    if (status == MP_OK && options->inputs) mp_golden_store_inputs(*golden);
    return status;
}

void mp_record_config(const mp_offer *offer, char text[MP_RECORD_CONFIG_MAX]) {
    char up[64], down[64];
    mp_tile_text(&offer->config.up, up);
    mp_tile_text(&offer->config.down, down);
    snprintf(text, MP_RECORD_CONFIG_MAX, "%s %s", up, down);
}

mp_status mp_record_case(mp_golden *golden, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                         const mp_trace *trace, mp_error *err) {
    char config[MP_RECORD_CONFIG_MAX];
    mp_record_config(offer, config);
    return mp_golden_write(golden, c, &offer->contract, config, trace, in, err);
}
