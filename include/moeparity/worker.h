/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side of a run: a program that judges cases which another program hands to it. `moeparity
 * worker` is one. So is any program that links the library and has subjects of its own; it begins
 *
 *     static mp_status open_mine(const char *name, mp_subject *s, mp_error *err) {
 *         if (strcmp(name, "mine") != 0) return mp_subject_open(name, s, err);
 *         *s = (mp_subject){.name = "mine", ...};
 *         return MP_OK;
 *     }
 *
 *     int main(void) {
 *         if (mp_worker_requested()) return mp_worker_serve(open_mine);
 *         ...
 *         mp_suite_run(&matrix, &(mp_suite_options){.settings.subject = "mine", .open_subject = open_mine,
 *                                                   .program = (const char *[]){"/proc/self/exe", NULL}, ...
 */
#ifndef MOEPARITY_WORKER_H
#define MOEPARITY_WORKER_H

#include "moeparity/suite.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MP_WORKER_VARIABLE "MOEPARITY_WORKER" /* is set for a worker: to the protocol's number */

/* Whether this program was started as a worker. Ask first thing in main: a program that was and does not
 * serve would start workers in its turn. */
bool mp_worker_requested(void);
/* Serves until nothing more comes, and returns the exit code for main. `open` (NULL: mp_subject_open) opens
 * the subjects. What is printed goes to the standard error. */
int mp_worker_serve(mp_subject_opener *open);

#ifdef __cplusplus
}
#endif

#endif
