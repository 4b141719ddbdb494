/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that are begun on streams of a device, and graphs of them. */
#include "tests/device_support.h"

typedef struct begun {
    mp_case c;
    mp_inputs in;
    mp_subject cuda;
    mp_offer offer;
    mp_buffers *buffers;
    void *stream;
} begun;

/* The case has run once, lies in buffers, and a stream is open. */
static mp_status open_begun(const char *text, begun *b, mp_error *err) {
    mp_trace trace;
    mp_surroundings_report report;
    mp_buffer_sizes sizes = {0};
    b->c = parsed(text);
    assert_int_equal(mp_inputs_create(&b->c, &b->in, err), MP_OK);
    mp_status status = mp_subject_open("cuda", &b->cuda, err);
    if (status == MP_OK) status = run_in_surroundings(&b->cuda, &b->c, &b->in, &trace, &report, err);
    mp_trace_destroy(&trace);
    if (status == MP_OK) status = mp_subject_describe(&b->cuda, &b->c, &b->offer, err);
    mp_buffer_sizes_add(&b->c, &b->offer, &sizes);
    if (status == MP_OK)
        status = mp_buffers_open(&b->cuda, &sizes, MP_BUFFERS_KEPT, MP_POISON_A, &b->buffers, err);
    if (status == MP_OK) status = mp_buffers_load(b->buffers, &b->c, &b->offer, &b->in, err);
    return status == MP_OK ? b->cuda.streams->open(b->cuda.streams->self, &b->stream, err) : status;
}

static void close_begun(begun *b) {
    if (b->cuda.streams) b->cuda.streams->close(b->cuda.streams->self, b->stream);
    mp_buffers_close(b->buffers);
    mp_subject_close(&b->cuda);
    mp_inputs_destroy(&b->in);
}

static mp_status begin(begun *b, mp_error *err) {
    const mp_execution e = mp_buffers_execution(b->buffers);
    return b->cuda.begin(&b->cuda, &e, b->stream, err);
}

static void a_run_that_is_begun_is_on_its_stream_and_waits_for_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {SMALL,
                                        SMALL "topk=3 fused_sum=1 rsf=2.5",
                                        SMALL "layout=sorted",
                                        SMALL "mode=inplace",
                                        SMALL "lora_adapters=3 lora_rank=5",
                                        "M=5 E=3 topk=2 N=17 lora_adapters=3 scope=expand_gate_up",
                                        "M=70000 topk=1 E=2 K=8 N=8 path=chunked",
                                        "M=5 E=3 topk=2 scope=align",
                                        "M=5 E=3 topk=2 K=33 scope=combine"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        begun b = {0};
        mp_error err = {0};
        void *graph = NULL;
        if (open_begun(texts[i], &b, &err) != MP_OK) fail_msg("%s: %s", texts[i], err.text);
        assert_true(b.offer.graphs && b.offer.overlaps);
        const mp_streams *streams = b.cuda.streams;
        const int unordered = fake.unordered, before = fake.launched;
        assert_int_equal(begin(&b, &err), MP_OK);
        const int launches = fake.launched - before;
        assert_true(launches > 0);
        assert_int_equal(streams->record(streams->self, b.stream, &err), MP_OK);
        assert_int_equal(begin(&b, &err), MP_OK);
        if (streams->recorded(streams->self, b.stream, &graph, &err) != MP_OK) fail_msg("%s", err.text);
        assert_int_equal(fake.launched - before, launches);
        for (int k = 2; k < 4; k++) {
            assert_int_equal(streams->launch(streams->self, graph, b.stream, &err), MP_OK);
            assert_int_equal(fake.launched - before, k * launches);
        }
        assert_int_equal(fake.unordered, unordered);
        streams->discard(streams->self, graph);
        close_begun(&b);
        assert_int_equal(fake.live, 0);
    }
}

/* What one block can sort is one launch; with fused_quant act is the quantiser's. */
static void kernels_that_can_be_one_are(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int launches;
    } rows[] = {{"M=5 E=3 topk=2 scope=align", 1},
                {"M=8000 E=3 topk=2 scope=align", 5},
                {"M=5 E=2000 topk=2 scope=align", 5}, /* more keys than it has room for */
                {"M=5 E=3 topk=2 scope=align lora_adapters=3", 2},
                {"M=5 E=3 topk=2 scope=align lora_adapters=900", 6},
                {"M=5 E=3 topk=2 K=32 N=32 quant=fp8-channel", 7},
                {"M=5 E=3 topk=2 K=32 N=32 quant=fp8-channel fused_quant=1", 6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begun b = {0};
        mp_error err = {0};
        if (open_begun(rows[i].text, &b, &err) != MP_OK) fail_msg("%s: %s", rows[i].text, err.text);
        const int before = fake.launched;
        if (begin(&b, &err) != MP_OK) fail_msg("%s: %s", rows[i].text, err.text);
        if (fake.launched - before != rows[i].launches)
            fail_msg("%s: %d launches", rows[i].text, fake.launched - before);
        close_begun(&b);
    }
}

static void the_runner_cannot_be_begun(void **state) {
    (void)state;
    begun b = {0};
    mp_error err = {0};
    assert_int_equal(open_begun(SMALL "path=runner", &b, &err), MP_OK);
    assert_false(b.offer.graphs || b.offer.overlaps);
    assert_int_equal(begin(&b, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "path=runner"));
    close_begun(&b);
}

static void who_waits_while_it_is_recorded_is_refused(void **state) {
    (void)state;
    begun b = {0};
    mp_error err = {0};
    void *graph = NULL;
    assert_int_equal(open_begun(SMALL, &b, &err), MP_OK);
    const mp_streams *streams = b.cuda.streams;
    assert_int_equal(streams->record(streams->self, b.stream, &err), MP_OK);
    assert_int_equal(begin(&b, &err), MP_OK);
    assert_int_equal(streams->wait(streams->self, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"));
    assert_int_equal(streams->recorded(streams->self, b.stream, &graph, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"));
    assert_null(graph);
    assert_int_equal(streams->wait(streams->self, &err), MP_OK); /* it is over */
    close_begun(&b);
    assert_int_equal(fake.live, 0);
}

/* What a subject has begun to record, and has not ended, is over when its stream is closed, and the next one
 * that opens a stream finds one whose work is done. */
static void a_stream_that_is_left_recording_is_not_used_again(void **state) {
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        begun b = {0};
        mp_error err = {0};
        void *other;
        assert_int_equal(open_begun(SMALL, &b, &err), MP_OK);
        const mp_streams *streams = b.cuda.streams;
        assert_int_equal(streams->record(streams->self, b.stream, &err), MP_OK);
        if (refused) assert_int_equal(streams->wait(streams->self, &err), MP_EDEVICE);
        streams->close(streams->self, b.stream);
        assert_int_equal(streams->wait(streams->self, &err), MP_OK); /* nothing is recorded any more */
        assert_int_equal(streams->open(streams->self, &b.stream, &err), MP_OK);
        const int before = fake.launched;
        assert_int_equal(begin(&b, &err), MP_OK);
        assert_true(fake.launched > before);
        streams->close(streams->self, b.stream);
        assert_int_equal(streams->open(streams->self, &other, &err), MP_OK);
        assert_ptr_equal(other, b.stream); /* a sound one is kept */
        close_begun(&b);
        assert_int_equal(fake.live, 0);
    }
}

static void streams_fail_cleanly_at_every_call(void **state) {
    (void)state;
    bool whole = false;
    for (int n = 0; !whole; n++) {
        begun b = {0};
        mp_error err = {0};
        void *graph = NULL, *second = NULL;
        assert_int_equal(open_begun("M=5 E=3 topk=2 scope=align", &b, &err), MP_OK);
        const mp_streams *streams = b.cuda.streams;
        fake.calls = 0, fake.failing = n;
        mp_status status = streams->record(streams->self, b.stream, &err);
        if (status == MP_OK) status = begin(&b, &err);
        mp_status ended = streams->recorded(streams->self, b.stream, &graph, &err);
        if (status == MP_OK) status = ended;
        if (status == MP_OK) status = streams->launch(streams->self, graph, b.stream, &err);
        if (status == MP_OK) status = streams->open(streams->self, &second, &err);
        if (status == MP_OK) status = streams->hold(streams->self, (void *const[]){b.stream, second}, &err);
        streams->release(streams->self);
        if (status == MP_OK) status = streams->wait(streams->self, &err);
        whole = fake.calls <= n;
        assert_int_equal(status, whole ? MP_OK : MP_EDEVICE);
        fake.failing = -1;
        streams->discard(streams->self, graph);
        streams->close(streams->self, second);
        close_begun(&b);
        assert_int_equal(fake.live, 0);
    }
}

static void borrowed_weights_are_written_once(void **state) {
    (void)state;
    begun b = {0};
    mp_error err = {0};
    mp_inputs other;
    assert_int_equal(open_begun(SMALL, &b, &err), MP_OK);
    assert_int_equal(mp_inputs_other(&b.c, &b.in, SIZE_MAX, &other, &err), MP_OK);
    const size_t weights = mp_tensor_bytes(&b.in.t[MP_W1]) + mp_tensor_bytes(&b.in.t[MP_W2]);
    for (int i = 0; i < 4; i++) {
        mp_surroundings_report report;
        const size_t before = fake.uploaded;
        assert_int_equal(mp_buffers_load(b.buffers, &b.c, &b.offer, i == 2 ? &b.in : &other, &err), MP_OK);
        /* those of `other` come once; the owner's own always */
        assert_int_equal(fake.uploaded - before > weights, i != 1);
        assert_int_equal(mp_buffers_look(b.buffers, &report, &err), MP_OK);
        assert_string_equal(report.input, "");
    }
    mp_inputs_destroy(&other);
    close_begun(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_is_begun_is_on_its_stream_and_waits_for_nothing),
        cmocka_unit_test(kernels_that_can_be_one_are),
        cmocka_unit_test(the_runner_cannot_be_begun),
        cmocka_unit_test(who_waits_while_it_is_recorded_is_refused),
        cmocka_unit_test(a_stream_that_is_left_recording_is_not_used_again),
        cmocka_unit_test(streams_fail_cleanly_at_every_call),
        cmocka_unit_test(borrowed_weights_are_written_once),
    };
    return run_device_tests(tests);
}
