/* base/sys.h: clock, environment, process figures. */
#ifndef NB_BASE_SYS_H
#define NB_BASE_SYS_H

#include "base/status.h"

uint64_t nb_clock_ns(void); /* monotonic */
/* "2024-07-26": the local date. */
void nb_today(char out[11]);
const char *nb_env(const char *name); /* NULL if unset */
unsigned nb_cpu_count(void);          /* cores this process may run on */
uint64_t nb_rss_peak_bytes(void);     /* peak of anonymous + file pages (VmHWM) */
uint64_t nb_rss_anon_bytes(void);     /* now, without file pages (RssAnon) */
uint64_t nb_ram_total_bytes(void);
uint64_t nb_ram_available_bytes(void);
/* "AMD EPYC 7543": the processor as the system names it, "unknown" if it does not; cut to cap. */
void nb_cpu_name(char *out, size_t cap);

#endif
