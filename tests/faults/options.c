#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "driver.h"

enum mode options_read(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        {"uhyve", required_argument, NULL, 'u'},  {"image-tool", required_argument, NULL, 'i'},
        {"engine", required_argument, NULL, 'e'}, {"guests", required_argument, NULL, 'g'},
        {"work", required_argument, NULL, 'w'},   {"tolerated", required_argument, NULL, 't'},
        {"kvm", no_argument, NULL, 'k'},          {"general-registers", no_argument, NULL, 'r'},
        {"limit", required_argument, NULL, 'l'},  {"workers", required_argument, NULL, 'j'},
        {"calls", no_argument, NULL, 'c'},        {"all", no_argument, NULL, 'a'},
        {"only", required_argument, NULL, 'f'},   {"one", no_argument, NULL, '1'},
        {"list", no_argument, NULL, 'L'},         {0}};
    enum mode mode = RUN_ALL;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (option) {
        case 'u':
            settings->uhyve = optarg;
            break;
        case 'i':
            settings->image_tool = optarg;
            break;
        case 'e':
            settings->engine = optarg;
            break;
        case 'g':
            settings->guests = optarg;
            break;
        case 'w':
            settings->work = optarg;
            break;
        case 't':
            check_load_tolerated(optarg);
            break;
        case 'k':
            settings->kvm = true;
            break;
        case 'r':
            settings->general_registers = true;
            break;
        case 'l':
            settings->limit_ms = (unsigned)atoi(optarg) * 1000;
            break;
        case 'j':
            settings->workers = (unsigned)atoi(optarg);
            break;
        case 'c':
            settings->level = EACH_CALL;
            break;
        case 'a':
            settings->level = EVERYTHING;
            break;
        case 'f':
            settings->only = optarg;
            break;
        case '1':
            mode = RUN_ONE;
            break;
        case 'L':
            mode = LIST_CASES;
            break;
        default:
            return MISTAKEN;
        }
    if (mode != LIST_CASES &&
        (!settings->uhyve || !settings->image_tool || !settings->engine || !settings->guests ||
         !settings->work || settings->workers < 1 || settings->workers > 64)) {
        fprintf(stderr, "fault-driver: not enough arguments; see tests/faults/run\n");
        return MISTAKEN;
    }
    return mode;
}
