/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/record.h"

#include <stdio.h>
#include <string.h>

mp_status mp_record_begin(const mp_record_options *options, const mp_subject *subject, mp_golden **golden,
                          mp_error *err) {
    mp_provenance who = options->who;
    const char *compiler = options->who.versions;
    snprintf(who.origin, sizeof who.origin, "%s",
             strcmp(subject->name, "host") == 0 ? "predicted sm_90" : "executed");
    snprintf(who.subject, sizeof who.subject, "%s", subject->name);
    if (subject->device[0]) snprintf(who.device, sizeof who.device, "%s", subject->device);
    snprintf(who.versions, sizeof who.versions, "%s%s%s", subject->versions,
             subject->versions[0] && compiler[0] ? ", " : "", compiler);
    const mp_status status = mp_golden_create(options->path, &who, options->digest_above, golden, err);
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
