/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker, or a run without workers, is at: for who waits, and for the message when it dies of it. */
#ifndef MP_HARNESS_PROGRESS_H
#define MP_HARNESS_PROGRESS_H

/* `what` is done now ("judge", "repeat", "golden", "kernels"), with `stage` where it is about one
 * ("gate_up"), else "". Cheap enough for every stage of a case, not for every tile. Call it on the thread
 * that runs the case; where nobody listens, nothing happens. */
void mp_progress(const char *stage, const char *what);

/* The same `what` goes on, now with this stage. */
void mp_progress_stage(const char *stage);

/* Both as one text: "judge gate_up", "kernels". */
enum { MP_PHASE_MAX = 256 };
void mp_phase_text(const char *stage, const char *what, char text[MP_PHASE_MAX]);

/* Who listens; NULL: nobody. */
typedef void mp_progress_listener(void *ctx, const char *stage, const char *what);
void mp_progress_listen(mp_progress_listener *listener, void *ctx);

#endif
