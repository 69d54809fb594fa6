/*
 * Copying from and to guest memory touches nothing outside of the guest's RAM and of the buffer.
 *
 * prove: range_inside ram_at ram_read ram_write ram_read_string
 * within: any RAM below 8 EiB, any address, any size
 * assumed: the buffer has the size that the caller says
 */
#include "access.h"
#include "memory/access.c"
