/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity export: a case's inputs, and what its stages leave, for other programs. */
#include "base/host_memory.h"
#include "cli/common.h"
#include "cli/golden.h"

#include "base/file.h"
#include "base/text.h"
#include "cases/edit.h"
#include "files/export.h"
#include "harness/run/memory.h"
#include "harness/subjects/surroundings.h"
#include "moeparity/inputs.h"
#include "ref/contract_words.h"

#include <stdio.h>
#include <unistd.h>

/* What `judge` shall ask of the file. host promises no bits, for it is the prediction itself: what it leaves
 * has the bits that its preset promises. */
static mp_status contract_in_words(const mp_contract *contract, const mp_case *c, mp_text *words,
                                   mp_error *err) {
    mp_contract preset, asked = *contract;
    const mp_status status = mp_contract_preset(contract->preset, c, &preset, err);
    if (status != MP_OK) return status;
    for (int s = 0; s < MP_STAGE_COUNT; s++) asked.promise[s].bits = preset.promise[s].bits;
    return mp_contract_to_words(&asked, contract->preset, c, words, NULL, err);
}

static mp_status check_memory(const mp_case *c, int block_size_m, mp_error *err) {
    const mp_status status = mp_memory_check(mp_case_host_bytes(c, block_size_m), err);
    return status == MP_OK ? MP_OK : (err->status = MP_EMEMORY);
}

/* Runs the case; *trace is the caller's to destroy, after an error too. */
static mp_status run_subject(const char *name, const mp_case *c, const mp_inputs *in, mp_trace *trace,
                             mp_text *contract, mp_error *err) {
    mp_subject subject = {0};
    mp_offer offer;
    mp_surroundings_report report;
    mp_status status = mp_subject_open(name, &subject, err);
    if (status == MP_OK) status = mp_subject_describe(&subject, c, &offer, err);
    if (status == MP_OK) status = check_memory(c, offer.config.up.block_size_m, err);
    if (status == MP_OK) status = contract_in_words(&offer.contract, c, contract, err);
    if (status == MP_OK)
        status = mp_run_surrounded(&subject, c, &offer, in, MP_POISON_A, trace, &report, err);
    if (status == MP_OK && (report.guard[0] || report.input[0]))
        status = mp_fail(err, MP_EDEVICE, "%s", report.guard[0] ? report.guard : report.input);
    mp_subject_close(&subject);
    return status;
}

/* An older export may be replaced; a golden, which is HDF5 too, is nobody's to lose by it. */
static mp_status check_output(const mp_args *args, mp_export_format format, const char *path, mp_error *err) {
    mp_golden *golden = NULL;
    mp_status status = format == MP_EXPORT_RAW ? MP_OK : mp_file_writable(path, err);
    if (status == MP_OK && format == MP_EXPORT_NPZ)
        status = mp_cli_replaces(args, MP_OPT_OUT, "PK", ".npz file", err);
    if (status == MP_OK && format == MP_EXPORT_H5)
        status = mp_cli_replaces(args, MP_OPT_OUT, MP_BEGINS_HDF5, "HDF5 file", err);
    if (status == MP_OK && format == MP_EXPORT_H5 && access(path, F_OK) == 0 &&
        mp_cli_open_golden(path, &golden, NULL) == MP_OK)
        status = mp_fail(
            err, MP_EINPUT,
            "%s would be overwritten, and is a golden: name another file behind --out, or remove it", path);
    mp_golden_close(golden);
    return status;
}

static mp_status export_case(const mp_args *args, const mp_case *c, mp_export_format format, mp_error *err) {
    const bool outputs = mp_args_given(args, MP_OPT_OUTPUTS);
    const char *path = mp_args_text(args, MP_OPT_OUT);
    char text[MP_CASE_TEXT_MAX];
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_text contract = {0};
    mp_case_text(c, text, sizeof text);
    mp_export e = {.case_text = text};
    mp_status status = check_output(args, format, path, err);
    if (status == MP_OK) status = check_memory(c, 16, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_inputs_edit(c, mp_args_text(args, MP_OPT_EDIT), &in, err);
    if (status == MP_OK && outputs)
        status = run_subject(mp_args_text(args, MP_OPT_EXPORT_SUBJECT), c, &in, &trace, &contract, err);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        e.t[id] = in.t[id].data ? *mp_inputs_as_given(&in, (mp_tensor_id)id) : trace.t[id];
    e.t[MP_NUMBERED_IDS] = (mp_tensor){0}; /* they are the file's topk_ids */
    if (outputs) e.contract = mp_text_get(&contract);
    if (status == MP_OK) status = mp_export_write(&e, format, path, err);
    mp_text_free(&contract);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

int mp_cmd_export(const mp_args *args) {
    mp_error err = {0};
    mp_case c = mp_case_default();
    mp_export_format format = MP_EXPORT_NPZ;
    const char *path = mp_args_text(args, MP_OPT_OUT), *named = mp_args_text(args, MP_OPT_FORMAT);
    if (args->case_count == 0) return mp_cli_usage("no case: give --case 'M=32 topk=2 act=silu'");
    if (!path) return mp_cli_usage("no file: give --out inputs.npz");
    if (named ? !mp_export_format_parse(named, &format) : !mp_export_format_of_path(path, &format))
        return mp_cli_usage("--out %s: expected a name that ends in .npz, .h5 or .safetensors, or --format",
                            path);
    if (mp_args_given(args, MP_OPT_EXPORT_SUBJECT) && !mp_args_given(args, MP_OPT_OUTPUTS))
        return mp_cli_usage("--subject goes with --outputs");
    mp_status status = mp_case_parse(&c, args->cases[0].text, &err);
    if (status == MP_OK) status = export_case(args, &c, format, &err);
    if (status != MP_OK) return mp_cli_fail(&err);
    mp_cli_say(stdout, "wrote %s", path);
    return MP_EXIT_OK;
}
