#include "fs/fdtable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 3 /* after the standard streams */

struct fdtable_entry {
    int32_t number;
    struct open_file *file;
};

void fdtable_init(struct fdtable *table, size_t limit)
{
    *table = (struct fdtable){.limit = limit, .next = FIRST};
    pthread_mutex_init(&table->lock, NULL);
}

void fdtable_destroy(struct fdtable *table)
{
    for (size_t i = 0; i < table->count; i++)
        open_file_release(table->entries[i].file);
    free(table->entries);
    pthread_mutex_destroy(&table->lock);
    *table = (struct fdtable){0};
}

static int reserve(struct fdtable *table)
{
    size_t needed = table->count + table->reserved + 1;

    if (needed > table->limit || table->next + table->reserved > INT32_MAX)
        return -EMFILE;
    if (needed > table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 16;
        struct fdtable_entry *entries = reallocarray(table->entries, capacity,
                                                     sizeof *table->entries);
        if (!entries)
            return -ENOMEM;
        table->entries = entries;
        table->capacity = capacity;
    }
    table->reserved++;
    return 0;
}

int fdtable_reserve(struct fdtable *table)
{
    pthread_mutex_lock(&table->lock);
    int err = reserve(table);
    pthread_mutex_unlock(&table->lock);
    return err;
}

void fdtable_cancel(struct fdtable *table)
{
    pthread_mutex_lock(&table->lock);
    table->reserved--;
    pthread_mutex_unlock(&table->lock);
}

int32_t fdtable_install(struct fdtable *table, struct open_file *file)
{
    pthread_mutex_lock(&table->lock);
    int32_t number = (int32_t)table->next++;
    table->reserved--;
    table->entries[table->count++] = (struct fdtable_entry){number, file};
    pthread_mutex_unlock(&table->lock);
    return number;
}

/* With the lock held. */
static struct fdtable_entry *find(struct fdtable *table, int32_t number)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->entries[middle].number == number)
            return &table->entries[middle];
        if (table->entries[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct open_file *fdtable_get(struct fdtable *table, int32_t number)
{
    pthread_mutex_lock(&table->lock);
    const struct fdtable_entry *entry = find(table, number);
    struct open_file *file = entry ? open_file_hold(entry->file) : NULL;
    pthread_mutex_unlock(&table->lock);
    return file;
}

struct open_file *fdtable_remove(struct fdtable *table, int32_t number)
{
    struct open_file *file = NULL;

    pthread_mutex_lock(&table->lock);
    struct fdtable_entry *entry = find(table, number);
    if (entry) {
        file = entry->file;
        table->count--;
        memmove(entry, entry + 1, (size_t)(table->entries + table->count - entry) * sizeof *entry);
    }
    pthread_mutex_unlock(&table->lock);
    return file;
}
