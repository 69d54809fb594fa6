#include "cli/signals.h"

#include <errno.h>
#include <signal.h>

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

#define STOP_SIGNALS (sizeof stop_signals / sizeof *stop_signals)

/* A handler gets no argument of ours. Set while the signals still have another disposition. */
static struct uhyve_vm *signals_vm;
static bool signals_caught[STOP_SIGNALS];
static volatile sig_atomic_t signals_first;

static void signals_default(int but)
{
    const struct sigaction action = {.sa_handler = SIG_DFL};

    for (size_t i = 0; i < STOP_SIGNALS; i++)
        if (signals_caught[i] && stop_signals[i] != but)
            sigaction(stop_signals[i], &action, NULL);
}

static void signals_handle(int number)
{
    int saved = errno;

    if (!signals_first)
        signals_first = number;
    /* Impatient people press Ctrl-C again, while a closing terminal sends SIGHUP by itself. */
    signals_default(SIGHUP);
    uhyve_stop(signals_vm);
    errno = saved;
}

void signals_catch(struct uhyve_vm *vm)
{
    struct sigaction action = {.sa_handler = signals_handle}, old;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        sigaddset(&action.sa_mask, stop_signals[i]);
    signals_vm = vm;
    signals_first = 0;
    for (size_t i = 0; i < STOP_SIGNALS; i++) {
        sigaction(stop_signals[i], NULL, &old);
        signals_caught[i] = old.sa_handler != SIG_IGN;
        if (signals_caught[i])
            sigaction(stop_signals[i], &action, NULL);
    }
}

int signals_release(void)
{
    signals_default(0);
    return signals_first;
}
