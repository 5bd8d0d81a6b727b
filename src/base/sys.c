/* base/sys.c: clock, environment, process figures (Linux: /proc, and the memory bound of cgroup v2). */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/sys.h"

#include "base/str.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t nb_clock_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void nb_today(char out[11])
{
    const time_t now = time(NULL);
    struct tm t;
    if (localtime_r(&now, &t) == NULL || strftime(out, 11, "%Y-%m-%d", &t) != 10)
        memcpy(out, "1970-01-01", 11);
}

const char *nb_env(const char *name)
{
    return getenv(name);
}

unsigned nb_cpu_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than the set holds */
    return n > 0 ? (unsigned)n : 1;
}

/* The number after `key` at the start of a line of a small text file. */
static bool read_figure(const char *path, const char *key, uint64_t *out)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        const char *p = line + strlen(key);
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        while (*p == ' ' || *p == '\t' || *p == ':')
            p++;
        uint64_t v = 0;
        for (; *p >= '0' && *p <= '9'; p++, found = true)
            v = v * 10 + (uint64_t)(*p - '0');
        if (strstr(p, "kB") != NULL)
            v *= 1024;
        if (found)
            *out = v;
    }
    fclose(f);
    return found;
}

static uint64_t figure(const char *path, const char *key)
{
    uint64_t v = 0;
    return read_figure(path, key, &v) ? v : 0;
}

uint64_t nb_rss_peak_bytes(void)
{
    return figure("/proc/self/status", "VmHWM:");
}

uint64_t nb_rss_anon_bytes(void)
{
    return figure("/proc/self/status", "RssAnon:");
}

uint64_t nb_ram_total_bytes(void)
{
    const uint64_t total = figure("/proc/meminfo", "MemTotal:");
    uint64_t bound;
    if (read_figure("/sys/fs/cgroup/memory.max", "", &bound) && bound < total)
        return bound;
    return total;
}

uint64_t nb_ram_available_bytes(void)
{
    const uint64_t available = figure("/proc/meminfo", "MemAvailable:");
    uint64_t bound, used;
    if (!read_figure("/sys/fs/cgroup/memory.max", "", &bound) ||
        !read_figure("/sys/fs/cgroup/memory.current", "", &used))
        return available;
    /* The page cache counts as used there, yet gives way. */
    const uint64_t cache = figure("/sys/fs/cgroup/memory.stat", "inactive_file");
    used -= NB_MIN(cache, used);
    return NB_MIN(available, bound - NB_MIN(used, bound));
}

/* x86 calls it "model name"; arm64 kernels give no name, but sometimes the board's. */
void nb_cpu_name(char *out, size_t cap)
{
    char line[256];
    const char *name = NULL;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f != NULL && name == NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "model name", 10) == 0 || strncmp(line, "Model", 5) == 0)
            name = strchr(line, ':');
    if (f != NULL)
        fclose(f);
    if (name != NULL)
        name += 1 + strspn(name + 1, " \t");
    nb_printable(out, cap, name != NULL ? name : "unknown",
                 name != NULL ? strcspn(name, "\n") : strlen("unknown"));
}
