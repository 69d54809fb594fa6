#!/bin/sh
# table.sh CALLS OUTPUT: from calls.txt the lines FUNCTION(name, faults...) for calls.c and the driver.
set -eu
awk '/^#/ || !NF { next }
     {
         line = "FUNCTION(" $1
         for (i = 2; i <= NF; i++)
             line = line ", " ($i == "short" ? "FAULT_SHORT" : $i == "-" ? "FAULT_SILENT" : $i)
         print line ")"
     }' "$1" >"$2"
