/* SPDX-License-Identifier: Apache-2.0 */
// A C++ program of somebody else: it includes the headers, has a case judged on a subject of the library,
// keeps the run that was judged as a golden, and judges the case beside it. Exit code 0 when the case passed
// both times, the golden among its checks.
#include <moeparity/moeparity.h>

#include <cstdio>
#include <cstring>
#include <memory>

// Where the run that was judged goes to.
struct recorder {
    const char *path;
    const mp_case *c;
    mp_status status;
    mp_error err;
};

static void keep(void *ctx, const mp_offer *offer, const mp_inputs *in, const mp_trace *trace) {
    auto *r = static_cast<recorder *>(ctx);
    const mp_provenance who{};
    mp_golden *golden = nullptr;
    r->status = mp_golden_create(r->path, &who, SIZE_MAX, &golden, &r->err);
    if (r->status != MP_OK) return;
    r->status = mp_golden_write(golden, r->c, &offer->contract, "", trace, in, &r->err);
    if (r->status == MP_OK)
        r->status = mp_golden_commit(golden, &r->err);
    else
        mp_golden_close(golden);
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
    mp_golden *golden = nullptr;
    mp_run_options options{};
    auto first = std::make_unique<mp_verdict>(), beside = std::make_unique<mp_verdict>();
    mp_verdict_init(first.get());
    mp_verdict_init(beside.get());

    mp_status status = mp_matrix_add(&matrix, "M=5 topk=2 K=64 N=32", nullptr, 0, &err);
    if (status == MP_OK) status = mp_subject_open("host", &subject, &err);
    if (status == MP_OK) {
        recorder r{argv[1], &matrix.rows[0].c, MP_EINTERNAL, {}};
        options.subject = &subject;
        options.keep = keep;
        options.keep_ctx = &r;
        mp_run_case(&matrix.rows[0], &options, first.get());
        status = r.status;
        err = r.err;
        options.keep = nullptr;
    }
    if (status == MP_OK) status = mp_golden_open(argv[1], &golden, &err);
    if (status == MP_OK) {
        options.golden = golden;
        options.settings.golden = argv[1];
        mp_run_case(&matrix.rows[0], &options, beside.get());
        std::printf("%s %s\n", mp_outcome_name(beside->outcome), beside->name);
    }
    if (status != MP_OK) std::fprintf(stderr, "%s %s\n", mp_status_name(status), err.text);
    const bool passed = status == MP_OK && first->outcome == MP_PASS && beside->outcome == MP_PASS &&
                        beside->check[MP_CHECK_GOLDEN].answer == MP_PASSED;
    mp_verdict_free(first.get());
    mp_verdict_free(beside.get());
    mp_golden_close(golden);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
    return passed ? 0 : 1;
}
