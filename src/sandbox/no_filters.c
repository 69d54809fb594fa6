/* In place of the generated programs: for the generator, which makes them, and for builds that have
 * no filter. */
#include "sandbox/filter.h"

const struct filter_program vm_filter, network_filter, keeper_filter, connector_filter;
