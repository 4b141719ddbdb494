/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and graphs of the device. */
#include "kernels/handle.h"

#include <errno.h>

/* Those that were closed are opened again: the driver takes its time with each. */
static mp_status stream_open(void *self, void **stream, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUstream opened = NULL;
    for (int i = 0; i < MP_IDLE_STREAMS && !opened; i++) {
        opened = cuda->idle_stream[i];
        cuda->idle_stream[i] = NULL;
    }
    MP_CU(cuCtxSetCurrent(cuda->context));
    if (!opened) MP_CU(cuStreamCreate(&opened, CU_STREAM_NON_BLOCKING));
out:
    *stream = opened;
    return status;
}

/* Whether a subject has begun to record on the stream and has not ended that, or nobody can tell: it is
 * ended, for it stops others as well, and what is on such a stream next would be recorded and not done. */
static bool is_left_recording(const mp_cuda *cuda, CUstream stream) {
    const mp_driver *driver = cuda->driver;
    int recording;
    CUgraph graph = NULL;
    if (driver->cuStreamIsCapturing(stream, &recording) == CUDA_SUCCESS &&
        recording == CU_STREAM_CAPTURE_STATUS_NONE)
        return false;
    driver->cuStreamEndCapture(stream, &graph);
    if (graph) driver->cuGraphDestroy(graph);
    return true;
}

static void stream_close(void *self, void *stream) {
    mp_cuda *cuda = self;
    const bool sound = stream && !is_left_recording(cuda, stream);
    for (int i = 0; i < MP_IDLE_STREAMS && sound; i++) {
        if (cuda->idle_stream[i]) continue;
        cuda->idle_stream[i] = stream;
        return;
    }
    if (stream) cuda->driver->cuStreamDestroy_v2(stream);
}

void mp_streams_close(mp_cuda *cuda) {
    for (int i = 0; i < MP_IDLE_STREAMS; i++)
        if (cuda->idle_stream[i]) cuda->driver->cuStreamDestroy_v2(cuda->idle_stream[i]);
}

static mp_status stream_wait(void *self, mp_error *err) {
    return mp_cuda_synchronize(self, err);
}

/* Called by the driver, which works on nothing behind it in the stream before it returns. */
static void wait_for_release(void *self) {
    mp_cuda_gate *gate = self;
    pthread_mutex_lock(&gate->mutex);
    while (gate->closed && !gate->expired)
        gate->expired = pthread_cond_timedwait(&gate->opened, &gate->mutex, &gate->until) == ETIMEDOUT;
    gate->closed = false;
    pthread_mutex_unlock(&gate->mutex);
}

static bool streams_release(void *self) {
    mp_cuda_gate *gate = &((mp_cuda *)self)->gate;
    pthread_mutex_lock(&gate->mutex);
    const bool in_time = !gate->expired;
    gate->closed = false;
    pthread_cond_signal(&gate->opened);
    pthread_mutex_unlock(&gate->mutex);
    return in_time;
}

/* The first stream waits for the host, the second one for the first to have waited. */
static mp_status streams_hold(void *self, void *const stream[2], mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_cuda_gate *gate = &cuda->gate;
    mp_status status = MP_OK;
    CUevent passed = NULL;
    MP_CU(cuEventCreate(&passed, CU_EVENT_DISABLE_TIMING));
    pthread_mutex_lock(&gate->mutex);
    clock_gettime(CLOCK_REALTIME, &gate->until);
    gate->until.tv_nsec += (long)(MP_HOLD_SECONDS * 1e9);
    gate->until.tv_sec += gate->until.tv_nsec / 1000000000;
    gate->until.tv_nsec %= 1000000000;
    gate->closed = true;
    gate->expired = false;
    pthread_mutex_unlock(&gate->mutex);
    MP_CU(cuLaunchHostFunc(stream[0], wait_for_release, gate));
    MP_CU(cuEventRecord(passed, stream[0]));
    MP_CU(cuStreamWaitEvent(stream[1], passed, 0));
out:
    if (passed) driver->cuEventDestroy_v2(passed); /* which the streams keep for as long as they need it */
    if (status != MP_OK) streams_release(cuda);
    return status;
}

/* As engines capture, and as strictly as the driver can: what must not be done in between is refused wherever
 * it is called from. */
static mp_status stream_record(void *self, void *stream, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    MP_DO(mp_deliver(cuda, err));
    MP_CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
out:
    return status;
}

static mp_status stream_recorded(void *self, void *stream, void **graph, mp_error *err) {
    const mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    CUgraph captured = NULL;
    CUgraphExec ready = NULL;
    MP_CU(cuStreamEndCapture(stream, &captured));
    MP_CU(cuGraphInstantiateWithFlags(&ready, captured, 0));
out:
    if (captured) driver->cuGraphDestroy(captured);
    *graph = ready;
    return status;
}

static mp_status stream_launch(void *self, void *graph, void *stream, mp_error *err) {
    mp_cuda *cuda = self;
    const mp_driver *driver = cuda->driver;
    mp_status status = MP_OK;
    MP_DO(mp_deliver(cuda, err));
    MP_CU(cuGraphLaunch(graph, stream));
out:
    return status;
}

static void graph_discard(void *self, void *graph) {
    const mp_cuda *cuda = self;
    if (graph) cuda->driver->cuGraphExecDestroy(graph);
}

void mp_cuda_make_streams(mp_cuda *cuda) {
    cuda->gate = (mp_cuda_gate){.mutex = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    cuda->streams = (mp_streams){.self = cuda,
                                 .open = stream_open,
                                 .close = stream_close,
                                 .wait = stream_wait,
                                 .hold = streams_hold,
                                 .release = streams_release,
                                 .record = stream_record,
                                 .recorded = stream_recorded,
                                 .launch = stream_launch,
                                 .discard = graph_discard};
}

const mp_streams *mp_cuda_streams(mp_cuda *cuda) {
    return &cuda->streams;
}
