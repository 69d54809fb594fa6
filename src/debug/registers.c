#include "debug/registers.h"

/* A flag of a register: its bit and its name in the AMD64 Architecture Programmer's Manual volume
 * 2, section 3.1 (and, for a few newer bits of CR4, the Intel manual volume 3, section 2.5). */
struct flag {
    unsigned bit;
    const char *name;
};

static const struct flag rflags[] = {
    {0, "CF"},  {2, "PF"},   {4, "AF"},   {6, "ZF"},  {7, "SF"},  {8, "TF"},
    {9, "IF"},  {10, "DF"},  {11, "OF"},  {14, "NT"}, {16, "RF"}, {17, "VM"},
    {18, "AC"}, {19, "VIF"}, {20, "VIP"}, {21, "ID"},
};

static const struct flag cr0_flags[] = {
    {0, "PE"},  {1, "MP"},  {2, "EM"},  {3, "TS"},  {4, "ET"},  {5, "NE"},
    {16, "WP"}, {18, "AM"}, {29, "NW"}, {30, "CD"}, {31, "PG"},
};

static const struct flag cr4_flags[] = {
    {0, "VME"},   {1, "PVI"},   {2, "TSD"},   {3, "DE"},        {4, "PSE"},       {5, "PAE"},
    {6, "MCE"},   {7, "PGE"},   {8, "PCE"},   {9, "OSFXSR"},    {10, "OSXMMEXC"}, {11, "UMIP"},
    {12, "LA57"}, {13, "VMXE"}, {14, "SMXE"}, {16, "FSGSBASE"}, {17, "PCIDE"},    {18, "OSXSAVE"},
    {20, "SMEP"}, {21, "SMAP"}, {22, "PKE"},  {23, "CET"},      {24, "PKS"},
};

static const struct flag efer_flags[] = {
    {0, "SCE"},   {8, "LME"},    {10, "LMA"},   {11, "NXE"},
    {12, "SVME"}, {13, "LMSLE"}, {14, "FFXSR"}, {15, "TCE"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void add_flags(struct text *text, const char *name, uint64_t value, const struct flag *flags,
                      size_t count)
{
    text_printf(text, "  %-6s %016llx [", name, (unsigned long long)value);
    const char *separator = "";
    for (size_t i = 0; i < count; i++)
        if (value >> flags[i].bit & 1) {
            text_printf(text, "%s%s", separator, flags[i].name);
            separator = " ";
        }
    text_add(text, "]\n");
}

static void add_general(struct text *text, const struct x86_state *state)
{
    static const struct {
        const char *name;
        enum x86_gpr number;
    } general[X86_GPR_COUNT] = {
        {"rax", X86_RAX}, {"rbx", X86_RBX}, {"rcx", X86_RCX}, {"rdx", X86_RDX},
        {"rsi", X86_RSI}, {"rdi", X86_RDI}, {"rbp", X86_RBP}, {"rsp", X86_RSP},
        {"r8", X86_R8},   {"r9", X86_R9},   {"r10", X86_R10}, {"r11", X86_R11},
        {"r12", X86_R12}, {"r13", X86_R13}, {"r14", X86_R14}, {"r15", X86_R15},
    };
    for (size_t i = 0; i < X86_GPR_COUNT; i++)
        text_printf(text, "  %-3s %016llx%s", general[i].name,
                    (unsigned long long)state->gpr[general[i].number], i % 4 == 3 ? "\n" : "");
}

static void add_segment(struct text *text, const char *name, const struct x86_segment *segment)
{
    text_printf(text, "  %-4s %04x base %016llx limit %08x attributes %04x\n", name,
                segment->selector, (unsigned long long)segment->base, segment->limit,
                segment->attributes);
}

static void add_table(struct text *text, const char *name, const struct x86_table *table)
{
    text_printf(text, "  %-4s      base %016llx limit %04x\n", name,
                (unsigned long long)table->base, table->limit);
}

void registers_format(const struct x86_state *state, struct text *text)
{
    add_general(text, state);
    add_flags(text, "rflags", state->rflags, rflags, COUNT(rflags));
    add_flags(text, "cr0", state->cr0, cr0_flags, COUNT(cr0_flags));
    text_printf(text, "  cr2    %016llx\n", (unsigned long long)state->cr2);
    text_printf(text, "  cr3    %016llx\n", (unsigned long long)state->cr3);
    add_flags(text, "cr4", state->cr4, cr4_flags, COUNT(cr4_flags));
    text_printf(text, "  cr8    %016llx  apic_base %016llx\n", (unsigned long long)state->cr8,
                (unsigned long long)state->apic_base);
    add_flags(text, "efer", state->efer, efer_flags, COUNT(efer_flags));
    add_segment(text, "cs", &state->cs);
    add_segment(text, "ss", &state->ss);
    add_segment(text, "ds", &state->ds);
    add_segment(text, "es", &state->es);
    add_segment(text, "fs", &state->fs);
    add_segment(text, "gs", &state->gs);
    add_segment(text, "tr", &state->tr);
    add_segment(text, "ldt", &state->ldt);
    add_table(text, "gdt", &state->gdt);
    add_table(text, "idt", &state->idt);
}
