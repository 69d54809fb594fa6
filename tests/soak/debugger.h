/*
 * A client of the debug server that does not behave. Nothing is an error.
 */
#ifndef SOAK_DEBUGGER_H
#define SOAK_DEBUGGER_H

#include "soak.h"

/* A connection, or -1. */
int debugger_connect(int port);
int debugger_connect_local(const char *path);

void debugger_send(int fd, const char *packet); /* with its frame */
/* Some packets that leave registers and memory of the guest alone. */
void debugger_talk(int fd, struct soak_random *random);
/* Until the other side closes the connection. */
void debugger_read_all(int fd);
/* Bytes that are no packet. */
void debugger_garbage(int fd, struct soak_random *random);
/* Close it in a way that the other side sees an error. */
void debugger_reset(int *fd);

#endif
