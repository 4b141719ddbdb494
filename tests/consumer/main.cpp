/* SPDX-License-Identifier: Apache-2.0 */
// A C++ program of somebody else: it includes the headers, has a case judged on a subject of the library,
// runs it once more itself, keeps that trace as a golden and finds it again. Exit code 0 when the case passed
// and the trace is the stored one.
#include <moeparity/moeparity.h>

#include <cstdio>
#include <cstring>
#include <memory>

// Runs the case on a subject whose memory is the host's, and leaves all of its outputs in the trace.
static mp_status run(mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_trace *trace,
                     mp_error *err) {
    auto offer = std::make_unique<mp_offer>();
    mp_tensor t[MP_TENSOR_COUNT];
    void *workspace[MP_WORKSPACES] = {};
    mp_status status = mp_subject_describe(subject, c, offer.get(), err);
    if (status == MP_OK) status = mp_trace_create(c, offer->config.up.block_size_m, MP_POISON_A, trace, err);
    for (int i = 0; i < MP_TENSOR_COUNT; i++) t[i] = in->t[i].data ? in->t[i] : trace->t[i];
    const mp_execution execution{c, offer.get(), t, workspace, trace->stage_ns};
    return status == MP_OK ? subject->run(subject, &execution, err) : status;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: consumer_cpp GOLDEN\n");
        return 2;
    }
    if (std::strcmp(mp_version(), MOEPARITY_VERSION) != 0) {
        std::fprintf(stderr, "headers of %s, library %s\n", MOEPARITY_VERSION, mp_version());
        return 2;
    }
    mp_error err{};
    mp_matrix matrix{};
    mp_subject subject{};
    const mp_provenance who{};
    mp_golden *golden = nullptr;
    mp_inputs in{};
    mp_trace trace{};
    mp_golden_difference difference[MP_TENSOR_COUNT]{};
    int differences = 0;
    auto verdict = std::make_unique<mp_verdict>();
    mp_verdict_init(verdict.get());
    mp_run_options options{};

    mp_status status = mp_matrix_add(&matrix, "M=5 topk=2 K=64 N=32", nullptr, 0, &err);
    const mp_case *c = status == MP_OK ? &matrix.rows[0].c : nullptr;
    if (status == MP_OK) status = mp_subject_open("host", &subject, &err);
    if (status == MP_OK) {
        options.subject = &subject;
        options.repeat = 2;
        mp_run_case(&matrix.rows[0], &options, verdict.get());
        std::printf("%s %s\n", mp_outcome_name(verdict->outcome), verdict->name);
        status = mp_inputs_create(c, &in, &err);
    }
    if (status == MP_OK) status = run(&subject, c, &in, &trace, &err);
    if (status == MP_OK) status = mp_golden_create(argv[1], &who, SIZE_MAX, &golden, &err);
    if (status == MP_OK) status = mp_golden_write(golden, c, "", "", &trace, &in, &err);
    if (status == MP_OK) {
        status = mp_golden_commit(golden, &err);
        golden = nullptr;
    }
    if (status == MP_OK) status = mp_golden_open(argv[1], &golden, &err);
    if (status == MP_OK) status = mp_golden_compare(golden, c, &trace, difference, &differences, &err);
    for (int i = 0; i < differences; i++)
        if (!difference[i].stored || difference[i].differing_rows != 0) status = MP_EINTERNAL;
    if (status != MP_OK) std::fprintf(stderr, "%s %s\n", mp_status_name(status), err.text);
    const bool passed = status == MP_OK && differences > 0 && verdict->outcome == MP_PASS;
    mp_verdict_free(verdict.get());
    mp_golden_close(golden);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
    return passed ? 0 : 1;
}
