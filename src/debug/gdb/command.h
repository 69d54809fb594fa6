/*
 * What the files of one session share: the handlers of its packets. A handler gets what follows the
 * packet's name, terminated, and its size (there may be zeros in binary data), and adds its reply
 * to session->reply; an empty one says that the packet is not known.
 */
#ifndef DEBUG_GDB_COMMAND_H
#define DEBUG_GDB_COMMAND_H

#include "debug/gdb/session.h"

/* session.c */
void session_send(struct gdb_session *session, const char *payload, size_t size);
void session_ok(struct gdb_session *session);
void session_error(struct gdb_session *session, int err); /* a positive errno */
void session_add_thread(const struct gdb_session *session, struct text *text, unsigned cpu);
/* Reply to a packet that asks for the reason of the stop, or for the next stop. */
void session_add_stop(struct gdb_session *session, struct text *text);
/* A thread id at *at, which moves behind it: a vCPU, GDB_ALL_CPUS for -1, the current one for 0.
 * False if there is no such thread. */
bool session_read_thread(const struct gdb_session *session, const char **at, unsigned *cpu);

/* Read what is known of the vCPU's registers. */
void session_load_registers(struct gdb_session *session, unsigned cpu, bool with_xsave);
/* The state with whose page tables addresses are translated; NULL with an error replied. */
const struct x86_state *session_state(struct gdb_session *session);

/* inspect.c: registers, memory, breakpoints */
void command_read_registers(struct gdb_session *session, const char *text, size_t size);
void command_write_registers(struct gdb_session *session, const char *text, size_t size);
void command_read_register(struct gdb_session *session, const char *text, size_t size);
void command_write_register(struct gdb_session *session, const char *text, size_t size);
void command_read_memory(struct gdb_session *session, const char *text, size_t size);
void command_write_memory(struct gdb_session *session, const char *text, size_t size);
void command_write_binary(struct gdb_session *session, const char *text, size_t size);
void command_insert(struct gdb_session *session, const char *text, size_t size);
void command_remove(struct gdb_session *session, const char *text, size_t size);

/* resume.c */
void command_resume_query(struct gdb_session *session, const char *text, size_t size);
void command_resume(struct gdb_session *session, const char *text, size_t size);
void command_continue(struct gdb_session *session, const char *text, size_t size);
void command_continue_signal(struct gdb_session *session, const char *text, size_t size);
void command_step(struct gdb_session *session, const char *text, size_t size);
void command_step_signal(struct gdb_session *session, const char *text, size_t size);

/* query.c */
void command_supported(struct gdb_session *session, const char *text, size_t size);
void command_transfer(struct gdb_session *session, const char *text, size_t size);
void command_offsets(struct gdb_session *session, const char *text, size_t size);
void command_threads_first(struct gdb_session *session, const char *text, size_t size);
void command_threads_more(struct gdb_session *session, const char *text, size_t size);
void command_thread_info(struct gdb_session *session, const char *text, size_t size);
void command_current_thread(struct gdb_session *session, const char *text, size_t size);

/* monitor.c */
void command_monitor(struct gdb_session *session, const char *text, size_t size);

#endif
