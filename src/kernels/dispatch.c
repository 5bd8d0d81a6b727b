/* kernels/dispatch.c: what this CPU can do, and the table of the best kernels it may run.
 *
 * Built without ISA flags: this code runs before anything is known about the CPU.
 */
#include "kernels/kernels.h"

#include "base/sys.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* A level holds the flags of the levels below it. Lowest first. */
static const struct {
    const char *name;
    unsigned flags;
} levels[] = {
    {"ref", NB_ISA_NONE},
    {"avx2", NB_ISA_AVX2},
    {"avx512vnni", NB_ISA_AVX2 | NB_ISA_AVX512VNNI},
    {"neon", NB_ISA_NEON},
    {"dotprod", NB_ISA_NEON | NB_ISA_DOTPROD},
};
#define N_LEVELS (sizeof levels / sizeof levels[0])

#if defined(__x86_64__)
/* Register state the operating system saves (XCR0). */
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

/* Intel SDM vol. 2A, CPUID leaves 1 and 7. */
static unsigned probe(void)
{
    const uint32_t fma = 1U << 12, osxsave = 1U << 27, avx = 1U << 28, f16c = 1U << 29;
    const uint32_t avx2 = 1U << 5, f = 1U << 16, bw = 1U << 30, vl = 1U << 31, vnni = 1U << 11;
    uint32_t a, b, c, d;
    unsigned have = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    const uint32_t need = fma | osxsave | avx | f16c;
    if ((c & need) != need)
        return 0;
    const uint64_t os = xcr0();
    if ((os & 0x6U) != 0x6U || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    if (b & avx2)
        have |= NB_ISA_AVX2;
    if ((have & NB_ISA_AVX2) && (os & 0xe6U) == 0xe6U && (b & (f | bw | vl)) == (f | bw | vl) &&
        (c & vnni))
        have |= NB_ISA_AVX512VNNI;
    return have;
}
#elif defined(__aarch64__)
static unsigned probe(void)
{
    unsigned have = NB_ISA_NEON;             /* part of the base architecture */
#if defined(__linux__)
    const unsigned long asimddp = 1UL << 20; /* HWCAP_ASIMDDP */
    if (getauxval(AT_HWCAP) & asimddp)
        have |= NB_ISA_DOTPROD;
#endif
    return have;
}
#else
static unsigned probe(void)
{
    return 0;
}
#endif

/* The once-filled table. */
static struct {
    pthread_once_t once;
    unsigned have, used;
    struct nb_kernels table;
} state = {.once = PTHREAD_ONCE_INIT};

static void fill(void)
{
    struct nb_kernels *k = &state.table;
    unsigned allowed = ~0U;
    const char *cap = nb_env("NIBBLE_ISA");
    state.have = probe();
    if (cap && !nb_isa_check(cap, &allowed))
        allowed = ~0U;
    state.used = state.have & allowed;
    const unsigned used = state.used;
#define NB_KERNEL(op, isa, need)                                                                   \
    if (((need)&used) == (unsigned)(need))                                                         \
        k->op = nb_##op##_##isa;
#include "kernels/kernels.inc"
#undef NB_KERNEL
}

const struct nb_kernels *nb_kernels_get(void)
{
    pthread_once(&state.once, fill);
    return &state.table;
}

unsigned nb_isa_have(void)
{
    pthread_once(&state.once, fill);
    return state.have;
}

unsigned nb_isa_used(void)
{
    pthread_once(&state.once, fill);
    return state.used;
}

const char *nb_isa_name(unsigned f)
{
    const char *name = levels[0].name;
    for (size_t i = 1; i < N_LEVELS; i++)
        if ((f & levels[i].flags) == levels[i].flags)
            name = levels[i].name;
    return name;
}

bool nb_isa_check(const char *name, unsigned *flags)
{
    for (size_t i = 0; i < N_LEVELS; i++)
        if (strcmp(name, levels[i].name) == 0) {
            *flags = levels[i].flags;
            return true;
        }
    return false;
}

static const struct nb_kernel_line lines[] = {
#define NB_KERNEL(op, isa, need) {#op, #isa, (need), (void (*)(void))nb_##op##_##isa},
#include "kernels/kernels.inc"
#undef NB_KERNEL
};

const struct nb_kernel_line *nb_kernel_lines(size_t *n)
{
    *n = sizeof lines / sizeof lines[0];
    return lines;
}
