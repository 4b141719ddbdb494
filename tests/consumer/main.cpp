/* SPDX-License-Identifier: Apache-2.0 */
// A C++ program of somebody else: it includes the headers, runs a case on a subject of the library, keeps its
// trace as a golden and finds it again. Exit code 0 when the case passed and the trace is the stored one.
extern "C" {
#include "base/file.h"
#include "cases/matrix.h"
#include "golden/golden.h"
#include "harness/checks/compare.h"
#include "harness/judge/judge.h"
#include "harness/judge/judge_bits.h"
#include "harness/run/memory.h"
#include "harness/run/run_case.h"
#include "harness/run/suite.h"
#include "harness/run/surroundings.h"
#include "kernels/config.h"
#include "ref/activation.h"
#include "ref/align.h"
#include "ref/combine.h"
#include "ref/pipeline.h"
#include "ref/preset.h"
#include "ref/predict/predict.h"
#include "ref/predict/tensorcore.h"
#include "reports/report.h"
}

#include <cstdio>
#include <memory>

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: consumer_cpp GOLDEN\n");
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
    if (status == MP_OK) status = mp_host_run(c, &in, 16, MP_POISON_A, &trace, &err);
    if (status == MP_OK) status = mp_golden_create(argv[1], &who, SIZE_MAX, &golden, &err);
    if (status == MP_OK) status = mp_golden_write(golden, c, "", "", &trace, nullptr, &err);
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
