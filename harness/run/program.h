/* SPDX-License-Identifier: Apache-2.0 */
/* Which program is started as a worker. */
#ifndef MP_HARNESS_PROGRAM_H
#define MP_HARNESS_PROGRAM_H

/* Says that this program is moeparity, so that its runs start it again, as `moeparity worker`. */
void mp_worker_is_this_program(void);
/* The arguments that start a worker: `program` where it is not NULL, else see mp_suite_options.program. */
const char *const *mp_worker_program(const char *const *program);

#endif
