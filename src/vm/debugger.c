#include "vm/debugger.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debug/gdb/listen.h"
#include "debug/gdb/session.h"
#include "util/error.h"
#include "util/thread.h"
#include "vm/vm.h"

#define SEND_LIMIT_MS 5000 /* a client that takes nothing for so long is gone */
#define END_LIMIT_MS  500  /* for the last packet */

const struct sandbox_call debugger_calls[] = {
    SANDBOX_CALL(recvfrom),
    SANDBOX_CALL(sendto),
    SANDBOX_CALL(shutdown, SANDBOX_EQUAL(1, SHUT_WR)),
    SANDBOX_END,
};

struct debugger {
    struct uhyve_vm *vm;
    struct gdb_listener listener;
    struct gdb_machine machine;
    char *image; /* absolute path */
    pthread_t thread;
    bool has_thread;
    int notify_fd; /* eventfd: look at the events and at `finished` */
    atomic_bool finished;

    /* The thread's own. */
    int client; /* -1: none */
    bool interrupted;
    struct gdb_stop reported; /* of a crash: the signal it ends with */
    struct gdb_session session;
};

/* What a session needs of the machine. */

static int machine_get_state(void *context, unsigned cpu, struct x86_state *state)
{
    return pause_get_state(context, cpu, state);
}

static int machine_set_state(void *context, unsigned cpu, const struct x86_state *state)
{
    return pause_set_state(context, cpu, state);
}

static int machine_get_xsave(void *context, unsigned cpu, void *area, size_t size)
{
    return pause_get_xsave(context, cpu, area, size);
}

static int machine_set_xsave(void *context, unsigned cpu, const void *area, size_t size)
{
    return pause_set_xsave(context, cpu, area, size);
}

static void machine_original_code(void *context, gpa_t gpa, void *copy, size_t size)
{
    struct uhyve_vm *vm = context;

    if (vm->accel->vm_original_code)
        vm->accel->vm_original_code(vm->machine, gpa, copy, size);
}

static void machine_code_written(void *context, gpa_t gpa, size_t size)
{
    struct uhyve_vm *vm = context;

    if (vm->accel->vm_code_written)
        vm->accel->vm_code_written(vm->machine, gpa, size);
}

static int machine_set_hardware(void *context, const struct accel_hardware_breakpoint *slots)
{
    return pause_set_hardware(context, slots);
}

static bool is_data_access(const struct debugger *debugger, const struct pause_event *event)
{
    enum accel_breakpoint_kind kind =
        debugger->session.breakpoints.slot[event->slot % ACCEL_HARDWARE_BREAKPOINTS].kind;

    return event->debug == ACCEL_DEBUG_HARDWARE && kind != ACCEL_BREAK_EXECUTE;
}

/*
 * Several vCPUs may have stopped at the same time, of which GDB was told one. What happens again
 * when the vCPU goes on is forgotten, the rest waits for its turn.
 */
static void sort_events(struct debugger *debugger, const struct gdb_action *actions)
{
    struct uhyve_vm *vm = debugger->vm;

    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        struct pause_event event = pause_peek(vm, i);
        if (event.kind != PAUSE_DEBUG || actions[i].kind == GDB_HOLD)
            continue;
        bool step_done = event.debug == ACCEL_DEBUG_STEP && actions[i].kind == GDB_STEP;
        if (!step_done && !is_data_access(debugger, &event))
            pause_forget(vm, i);
    }
}

static bool is_due(struct debugger *debugger, const struct gdb_action *actions)
{
    for (unsigned i = 0; i < debugger->vm->params.cpu_count; i++)
        if (actions[i].kind != GDB_HOLD && pause_peek(debugger->vm, i).kind != PAUSE_NOTHING)
            return true;
    return false;
}

static void notify(struct debugger *debugger)
{
    ssize_t ignored = write(debugger->notify_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)ignored;
}

static void machine_resume(void *context, const struct gdb_action *actions)
{
    struct uhyve_vm *vm = context;

    sort_events(vm->debugger, actions);
    if (is_due(vm->debugger, actions))
        notify(vm->debugger); /* stays stopped, and is reported next */
    else
        pause_resume(vm, actions);
}

static void machine_interrupt(void *context)
{
    struct uhyve_vm *vm = context;

    pause_all(vm);
    vm->debugger->interrupted = true;
}

static void machine_detach(void *context)
{
    struct uhyve_vm *vm = context;
    unsigned count = vm->params.cpu_count;
    static const struct gdb_action all[UHYVE_CPUS_MAX] = {
        [0 ... UHYVE_CPUS_MAX - 1] = {.kind = GDB_CONTINUE}};

    pause_attach(vm, false);
    for (unsigned i = 0; i < count; i++)
        pause_forget(vm, i);
    pause_resume(vm, all);
}

static void machine_kill(void *context)
{
    struct uhyve_vm *vm = context;

    log_notice(&vm->log, "Kill command received.");
    uhyve_stop(vm);
}

static void machine_describe(void *context, struct text *text)
{
    const struct uhyve_vm *vm = context;

    text_printf(text, "image: %s\n", vm->params.image);
    text_printf(text, "kernel: 0x%llx-0x%llx, image addresses + 0x%llx\n",
                (unsigned long long)vm->layout.kernel_start,
                (unsigned long long)vm->layout.kernel_end,
                (unsigned long long)(vm->elf.relocatable ? vm->layout.kernel_start : 0));
    text_printf(text, "memory: 0x%llx-0x%llx\n", (unsigned long long)vm->ram.base,
                (unsigned long long)(vm->ram.base + vm->ram.size));
    text_printf(text, "hypercall interface: %u\n", vm->elf.interface);
    text_printf(text, "accelerator: %s\nCPUs: %u\n", vm->accel->name, vm->params.cpu_count);
}

static void machine_statistics(void *context, struct text *text)
{
    const struct uhyve_vm *vm = context;

    for (unsigned counter = 0; counter < COUNTERS; counter++) {
        const char *name = vm_counter_name(counter);
        uint64_t total = 0;
        for (unsigned i = 0; name && i < vm->params.cpu_count; i++)
            total += atomic_load_explicit(&vm->vcpus[i].count[counter], memory_order_relaxed);
        if (!total)
            continue;
        text_printf(text, "%-32s %10llu:", name, (unsigned long long)total);
        for (unsigned i = 0; i < vm->params.cpu_count; i++)
            text_printf(text, " %llu",
                        (unsigned long long)atomic_load_explicit(&vm->vcpus[i].count[counter],
                                                                 memory_order_relaxed));
        text_add(text, "\n");
    }
}

/* The thread. */

static void fill_stop(const struct debugger *debugger, unsigned cpu,
                      const struct pause_event *event, struct gdb_stop *stop)
{
    const struct accel_hardware_breakpoint *slot =
        &debugger->session.breakpoints.slot[event->slot % ACCEL_HARDWARE_BREAKPOINTS];

    *stop = (struct gdb_stop){.cpu = cpu, .signal = GDB_SIGTRAP};
    if (event->kind == PAUSE_CRASH) {
        stop->signal = event->signal;
    } else if (event->debug == ACCEL_DEBUG_BREAKPOINT) {
        stop->reason = GDB_REASON_SOFTWARE;
    } else if (event->debug == ACCEL_DEBUG_HARDWARE) {
        stop->address = slot->address;
        stop->reason = slot->kind == ACCEL_BREAK_WRITE    ? GDB_REASON_WATCH
                       : slot->kind == ACCEL_BREAK_ACCESS ? GDB_REASON_ACCESS
                                                          : GDB_REASON_HARDWARE;
    }
}

/* The guest's own breakpoint instruction is its own business. */
static bool is_guests_own(struct debugger *debugger, unsigned cpu, const struct pause_event *event)
{
    struct x86_state state;

    return event->kind == PAUSE_DEBUG && event->debug == ACCEL_DEBUG_BREAKPOINT &&
           pause_get_state(debugger->vm, cpu, &state) == 0 &&
           !gdb_breakpoint_is_at(&debugger->machine, &debugger->session.breakpoints, &state,
                                 state.rip);
}

/* Find a vCPU with something to report, among those that are not to stay stopped. */
static bool find_event(struct debugger *debugger, struct gdb_stop *stop)
{
    struct uhyve_vm *vm = debugger->vm;

    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        struct pause_event event = pause_peek(vm, i);
        if (event.kind == PAUSE_NOTHING || debugger->session.actions[i].kind == GDB_HOLD)
            continue;
        if (is_guests_own(debugger, i, &event)) {
            pause_pass_breakpoint(vm, i);
            continue;
        }
        fill_stop(debugger, i, &event, stop);
        return true;
    }
    return false;
}

static void look_at_events(struct debugger *debugger)
{
    struct gdb_session *session = &debugger->session;
    struct gdb_stop stop;

    if (debugger->client < 0 || !session->running || session->over)
        return;
    if (find_event(debugger, &stop)) {
        pause_all(debugger->vm);
        pause_forget(debugger->vm, stop.cpu);
    } else if (debugger->interrupted) {
        stop = (struct gdb_stop){.cpu = session->cpu, .signal = GDB_SIGINT};
    } else {
        return;
    }
    debugger->interrupted = false;
    gdb_session_stopped(session, &stop);
}

/* Send what the session has to say. False if the client does not take it. */
static bool flush(struct debugger *debugger, int limit_ms)
{
    struct text *out = &debugger->session.out;
    size_t done = 0;

    while (done < out->size) {
        ssize_t size = send(debugger->client, out->data + done, out->size - done,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size > 0) {
            done += (size_t)size;
        } else if (size < 0 && errno == EAGAIN) {
            struct pollfd fds[] = {
                {.fd = debugger->client, .events = POLLOUT},
                {.fd = debugger->vm->stop_fd, .events = POLLIN},
            };
            /* A VM that is to stop does not wait long for a client. */
            if (poll(fds, 2, limit_ms) <= 0)
                break;
            if (fds[1].revents && poll(fds, 1, END_LIMIT_MS) <= 0)
                break;
        } else if (size == 0 || errno != EINTR) {
            break;
        }
    }
    bool complete = done == out->size;
    out->size = 0;
    return complete;
}

static void drop_client(struct debugger *debugger)
{
    close(debugger->client);
    debugger->client = -1;
    debugger->interrupted = false;
}

/* The session is over, or the connection is: what a debugger did to the guest is undone. */
static void end_session(struct debugger *debugger)
{
    struct uhyve_vm *vm = debugger->vm;

    if (debugger->session.running && !debugger->session.over) {
        pause_all(vm);
        debugger->session.running = false;
    }
    gdb_session_free(&debugger->session);
    drop_client(debugger);
    log_notice(&vm->log, "Debugger disconnected.");
}

static void receive(struct debugger *debugger)
{
    struct gdb_session *session = &debugger->session;
    char bytes[4096];
    ssize_t size = recv(debugger->client, bytes, sizeof bytes, MSG_DONTWAIT);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size > 0)
        gdb_session_receive(session, bytes, (size_t)size);
    if (size > 0)
        look_at_events(debugger);
    if (size <= 0 || !flush(debugger, SEND_LIMIT_MS) || session->over)
        end_session(debugger);
}

static void start_session(struct debugger *debugger, int client)
{
    struct uhyve_vm *vm = debugger->vm;

    debugger->client = client;
    log_notice(&vm->log, "Debugger connected.");
    pause_all(vm);
    pause_attach(vm, true);
    if (gdb_session_init(&debugger->session, &debugger->machine) != 0) {
        log_warn(&vm->log, "there is not enough memory for a debugger");
        end_session(debugger);
    }
}

static void accept_client(struct debugger *debugger)
{
    int client = gdb_accept(&debugger->listener);

    if (client < 0)
        return;
    if (debugger->client < 0) {
        start_session(debugger, client);
    } else {
        log_warn(&debugger->vm->log, "a second debugger was turned away while one is connected");
        close(client);
    }
}

/* The guest has ended: say so, and give the client the time to read it. */
static void say_goodbye(struct debugger *debugger)
{
    const struct uhyve_vm *vm = debugger->vm;
    struct gdb_session *session = &debugger->session;
    char bytes[256];

    if (debugger->client < 0)
        return;
    if (vm->ended && vm->outcome == UHYVE_EXITED)
        gdb_session_exited(session, vm->exit_code);
    else if (vm->ended && vm->outcome == UHYVE_CRASHED)
        gdb_session_signalled(session, vm->crash.signal ? vm->crash.signal : GDB_SIGABRT);
    else
        gdb_session_signalled(session, GDB_SIGTERM);
    if (flush(debugger, END_LIMIT_MS)) {
        shutdown(debugger->client, SHUT_WR);
        struct pollfd fd = {.fd = debugger->client, .events = POLLIN};
        while (poll(&fd, 1, END_LIMIT_MS) > 0 && recv(fd.fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            ;
    }
    gdb_session_free(session);
    drop_client(debugger);
}

static void *debugger_thread(void *context)
{
    struct debugger *debugger = context;
    uint64_t count;

    for (;;) {
        struct pollfd fds[] = {
            {.fd = debugger->notify_fd, .events = POLLIN},
            {.fd = debugger->client, .events = POLLIN},
            {.fd = debugger->listener.fd, .events = POLLIN},
        };
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[0].revents && read(debugger->notify_fd, &count, sizeof count) > 0) {
            look_at_events(debugger);
            if (debugger->client >= 0 && !flush(debugger, SEND_LIMIT_MS))
                end_session(debugger);
        }
        if (atomic_load(&debugger->finished))
            break;
        /* The client first, to its end: when it leaves, the next one may be waiting already. */
        if (fds[1].revents && debugger->client >= 0)
            receive(debugger);
        else if (fds[2].revents)
            accept_client(debugger);
    }
    say_goodbye(debugger);
    return NULL;
}

static void fill_machine(struct debugger *debugger)
{
    struct uhyve_vm *vm = debugger->vm;

    /* The kernel of an archive is no file that GDB could read. */
    if (vm->image.fd >= 0)
        debugger->image = realpath(vm->params.image, NULL);
    debugger->machine = (struct gdb_machine){
        .context = vm,
        .cpu_count = vm->params.cpu_count,
        .ram = &vm->ram,
        .image = debugger->image,
        .relocated = vm->elf.relocatable,
        .first_segment = vm->layout.kernel_start + (vm->elf.load[0].vaddr - vm->elf.start),
        .get_state = machine_get_state,
        .set_state = machine_set_state,
        .get_xsave = machine_get_xsave,
        .set_xsave = machine_set_xsave,
        .original_code = machine_original_code,
        .code_written = machine_code_written,
        .set_hardware = machine_set_hardware,
        .resume = machine_resume,
        .interrupt = machine_interrupt,
        .detach = machine_detach,
        .kill = machine_kill,
        .describe = machine_describe,
        .statistics = machine_statistics,
    };
}

int debugger_create(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;

    if (!params->gdb)
        return 0;
    struct debugger *debugger = calloc(1, sizeof *debugger);
    if (!debugger)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    vm->debugger = debugger;
    debugger->vm = vm;
    debugger->client = -1;
    debugger->listener.fd = -1;
    debugger->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = debugger->notify_fd < 0 ? -errno : pause_create(vm, debugger->notify_fd);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err, "cannot prepare for a debugger: %s (%s)",
                         strerror(-err), error_remedy_of_call(-err, "is there enough memory?"));
    fill_machine(debugger);
    return gdb_listen(&debugger->listener, params->gdb_port, params->gdb_socket, error);
}

int debugger_start(struct uhyve_vm *vm, struct uhyve_error *error)
{
    struct debugger *debugger = vm->debugger;

    if (!debugger)
        return 0;
    int err = thread_start(&debugger->thread, debugger_thread, debugger, 0);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start the thread for a debugger: %s (" THREAD_REMEDY ")",
                         strerror(-err));
    debugger->has_thread = true;
    if (debugger->listener.path)
        log_notice(&vm->log, "Waiting for a local GDB connection on socket %s...",
                   debugger->listener.path);
    else
        log_notice(&vm->log, "Waiting for a local GDB connection on port %u...",
                   debugger->listener.port);
    return 0;
}

void debugger_finish(struct uhyve_vm *vm)
{
    struct debugger *debugger = vm->debugger;

    if (!debugger || !debugger->has_thread)
        return;
    atomic_store(&debugger->finished, true);
    notify(debugger);
    pthread_join(debugger->thread, NULL);
    debugger->has_thread = false;
    /* Who is connecting just now is not to wait for an answer. */
    gdb_listen_close(&debugger->listener);
}

void debugger_destroy(struct uhyve_vm *vm)
{
    struct debugger *debugger = vm->debugger;

    if (!debugger)
        return;
    gdb_listen_close(&debugger->listener);
    if (debugger->notify_fd >= 0)
        close(debugger->notify_fd);
    free(debugger->image);
    free(debugger);
    vm->debugger = NULL;
    pause_destroy(vm);
}
