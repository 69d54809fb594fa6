#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define KEPT_MAX 8192

static struct {
    const char *program;
    uint64_t address;
    struct place place;
} kept[KEPT_MAX];
static unsigned kept_count;

static struct place *find(const char *program, uint64_t address)
{
    for (unsigned i = 0; i < kept_count; i++)
        if (kept[i].address == address && kept[i].program == program)
            return &kept[i].place;
    return NULL;
}

/* Of the functions that were inlined there, the first of the program's own. `line` has the address
 * and gets that of the next one. */
static void read_place(FILE *answer, char *line, size_t size, struct place *place)
{
    char function[128], *position = line;
    bool found = false;

    while (fgets(line, (int)size, answer) && strncmp(line, "0x", 2) != 0) {
        line[strcspn(line, ".\n")] = '\0'; /* no "run.isra.0" */
        snprintf(function, sizeof function, "%s", line);
        if (!fgets(line, (int)size, answer))
            break;
        char *colon = strrchr(line, ':'), *slash = strrchr(line, '/');
        if (found || !colon || strstr(line, "/include/") || strstr(line, "/syscalls.h:"))
            continue;
        found = true;
        place->line = (unsigned)atoi(colon + 1);
        *colon = '\0';
        snprintf(place->file, sizeof place->file, "%.40s", slash ? slash + 1 : position);
        snprintf(place->function, sizeof place->function, "%.60s", function);
    }
}

/* One process of addr2line for all: it reads the whole debugging information first. */
void symbols_load(const char *program, const struct fault_record *records, size_t count)
{
    char list[] = "/tmp/fault-addresses-XXXXXX", command[512];
    int fd = mkstemp(list);
    FILE *addresses = fd < 0 ? NULL : fdopen(fd, "w");
    unsigned first = kept_count;

    if (!addresses)
        return;
    for (size_t i = 0; i < count && kept_count < KEPT_MAX; i++) {
        if (find(program, records[i].address))
            continue;
        kept[kept_count].program = program;
        kept[kept_count].address = records[i].address;
        kept[kept_count++].place = (struct place){"?", "?", 0};
        /* The address is that of the instruction after the call. */
        fprintf(addresses, "0x%llx\n", (unsigned long long)records[i].address - 1);
    }
    fclose(addresses);
    snprintf(command, sizeof command, "addr2line -a -i -f -e '%s' <%s 2>/dev/null", program, list);
    FILE *answer = popen(command, "re");
    char line[512] = "";
    if (answer && fgets(line, sizeof line, answer))
        for (unsigned i = first; i < kept_count; i++)
            read_place(answer, line, sizeof line, &kept[i].place);
    if (answer)
        pclose(answer);
    remove(list);
}

void symbols_find(const char *program, uint64_t address, struct place *place)
{
    const struct place *found = find(program, address);
    *place = found ? *found : (struct place){"?", "?", 0};
}
