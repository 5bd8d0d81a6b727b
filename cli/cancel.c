/* cli/cancel.c: Ctrl-C and its relatives.
 *
 * The first signal sets a flag that the progress callback hands to the library, which cleans up and
 * returns NB_ERR_CANCELLED; a second one ends the process at once. A file size limit (ulimit -f) must
 * arrive as a failed write, which has a message, and not as a signal.
 */
#include "cli.h"

#include <signal.h>

static volatile sig_atomic_t asked;

static void on_signal(int number)
{
    if (asked != 0) {
        signal(number, SIG_DFL);
        raise(number);
    }
    asked = number;
}

void nb_cli_cancel_init(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a read must return */
    struct sigaction old;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup stays */
            sigaction(numbers[i], &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
}

int nb_cli_cancelled(void)
{
    return (int)asked;
}

void nb_cli_cancel_reset(void)
{
    asked = 0;
}
