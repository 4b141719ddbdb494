/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/record.h"

#include "harness/run/surroundings.h"

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

mp_status mp_record_case(mp_subject *subject, mp_golden *golden, const mp_case *c, mp_error *err) {
    char contract_text[MP_CONTRACT_TEXT_MAX], config_text[160], up[64], down[64];
    mp_offer offer;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_surroundings_report report;
    mp_status status = mp_subject_describe(subject, c, &offer, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_inputs_check_ids(c, &in, err);
    if (status == MP_OK)
        status = mp_run_surrounded(subject, c, &offer, &in, MP_POISON_A, &trace, &report, err);
    if (status == MP_OK) {
        mp_contract_text(&offer.contract, contract_text, sizeof contract_text);
        mp_tile_text(&offer.config.up, up);
        mp_tile_text(&offer.config.down, down);
        snprintf(config_text, sizeof config_text, "%s %s", up, down);
        status = mp_golden_write(golden, c, contract_text, config_text, &trace, &in, err);
    }
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    if (status != MP_OK) {
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(c, name, sizeof name);
        mp_error_prefix(err, "%s", name);
    }
    return status;
}
