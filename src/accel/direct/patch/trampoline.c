#include "accel/direct/patch/trampoline.h"

#include <string.h>

/* Being written. `failed` sticks: something did not fit. */
struct emitter {
    const struct trampoline_target *target;
    uint8_t *to;
    uint64_t address; /* of to[0] when executed */
    size_t at;
    bool failed;
};

static void emit(struct emitter *emitter, const void *bytes, size_t size)
{
    if (size > TRAMPOLINE_SIZE_MAX - emitter->at) {
        emitter->failed = true;
        return;
    }
    memcpy(emitter->to + emitter->at, bytes, size);
    emitter->at += size;
}

#define EMIT(emitter, ...)                                                                         \
    emit(emitter, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void emit_word(struct emitter *emitter, uint32_t word)
{
    emit(emitter, &word, sizeof word);
}

/* The distance to `goal` from the end of this field, which `behind` more bytes follow. */
static void emit_distance(struct emitter *emitter, uint64_t goal, size_t behind)
{
    int64_t distance = (int64_t)(goal - (emitter->address + emitter->at + 4 + behind));
    emitter->failed = emitter->failed || distance != (int32_t)distance;
    emit_word(emitter, (uint32_t)distance);
}

static void emit_save(struct emitter *emitter)
{
    EMIT(emitter, 0x48, 0x89, 0x84, 0x24); /* mov %rax, -136(%rsp) */
    emit_word(emitter, -(uint32_t)TRAMPOLINE_RAX_BELOW);
    EMIT(emitter, 0x48, 0x89, 0x8C, 0x24); /* mov %rcx, -144(%rsp) */
    emit_word(emitter, -(uint32_t)TRAMPOLINE_RCX_BELOW);
}

/* `delta` is what the sequence has added to RSP. */
static void emit_restore(struct emitter *emitter, int delta)
{
    EMIT(emitter, 0x48, 0x8B, 0x84, 0x24); /* mov -136-delta(%rsp), %rax */
    emit_word(emitter, -(uint32_t)(TRAMPOLINE_RAX_BELOW + delta));
    EMIT(emitter, 0x48, 0x8B, 0x8C, 0x24); /* mov -144-delta(%rsp), %rcx */
    emit_word(emitter, -(uint32_t)(TRAMPOLINE_RCX_BELOW + delta));
}

/* RCX = address of the vCPU's state. Changes RAX. */
static void emit_find_state(struct emitter *emitter)
{
    if (emitter->target->mode == TRAMPOLINE_SHARED)
        EMIT(emitter, 0x8C, 0xC0);   /* mov %es, %eax */
    EMIT(emitter, 0x48, 0x8D, 0x0D); /* lea state(%rip), %rcx */
    emit_distance(emitter, emitter->target->state, 0);
    if (emitter->target->mode == TRAMPOLINE_SHARED)
        EMIT(emitter, 0x48, 0x8B, 0x0C, 0xC1); /* mov (%rcx,%rax,8), %rcx */
}

/* Trap if ECX is not 0. */
static void emit_trap_if_pending(struct emitter *emitter)
{
    EMIT(emitter, 0xE3, 0x01); /* jrcxz over it */
    EMIT(emitter, 0xF4);       /* hlt */
}

static void emit_cli(struct emitter *emitter, size_t start, struct patch_shape *shape)
{
    if (emitter->target->mode == TRAMPOLINE_SINGLE) {
        EMIT(emitter, 0xC7, 0x05); /* movl $0, interrupt_flag(%rip) */
        emit_distance(emitter, emitter->target->state, 4);
        emit_word(emitter, 0);
        *shape = (struct patch_shape){.commit = (uint8_t)(emitter->at - start)};
        return;
    }
    emit_save(emitter);
    shape->spilled = (uint8_t)(emitter->at - start);
    emit_find_state(emitter);
    EMIT(emitter, 0xC7, 0x01); /* movl $0, (%rcx) */
    emit_word(emitter, 0);
    shape->commit = (uint8_t)(emitter->at - start);
    emit_restore(emitter, 0);
}

static void emit_sti(struct emitter *emitter, size_t start, struct patch_shape *shape)
{
    emit_save(emitter);
    shape->spilled = (uint8_t)(emitter->at - start);
    emit_find_state(emitter);
    EMIT(emitter, 0xC7, 0x01); /* movl $IF, (%rcx) */
    emit_word(emitter, TRAMPOLINE_IF);
    shape->commit = (uint8_t)(emitter->at - start);
    EMIT(emitter, 0x8B, 0x89); /* mov pending(%rcx), %ecx */
    emit_word(emitter, offsetof(struct trampoline_state, pending));
    emit_trap_if_pending(emitter);
    emit_restore(emitter, 0);
}

/* The real flags always have IF set: "- IF + virtual IF" needs no operation that sets flags. */
static void emit_pushfq(struct emitter *emitter, size_t start, struct patch_shape *shape)
{
    emit_save(emitter);
    shape->spilled = (uint8_t)(emitter->at - start);
    emit_find_state(emitter);
    EMIT(emitter, 0x8B, 0x09); /* mov (%rcx), %ecx */
    EMIT(emitter, 0x9C);       /* pushfq */
    shape->moved = (uint8_t)(emitter->at - start);
    shape->rsp_delta = -8;
    EMIT(emitter, 0x48, 0x8B, 0x04, 0x24); /* mov (%rsp), %rax */
    EMIT(emitter, 0x48, 0x8D, 0x84, 0x08); /* lea -IF(%rax,%rcx), %rax */
    emit_word(emitter, -TRAMPOLINE_IF);
    EMIT(emitter, 0x48, 0x89, 0x04, 0x24); /* mov %rax, (%rsp) */
    shape->commit = (uint8_t)(emitter->at - start);
    emit_restore(emitter, -8);
}

/* Flags may be changed before popfq, which replaces them all. */
static void emit_popfq(struct emitter *emitter, size_t start, struct patch_shape *shape)
{
    emit_save(emitter);
    shape->spilled = (uint8_t)(emitter->at - start);
    emit_find_state(emitter);
    EMIT(emitter, 0x8B, 0x04, 0x24); /* mov (%rsp), %eax */
    EMIT(emitter, 0x25);             /* and $IF, %eax */
    emit_word(emitter, TRAMPOLINE_IF);
    EMIT(emitter, 0x9D); /* popfq */
    shape->moved = (uint8_t)(emitter->at - start);
    shape->rsp_delta = 8;
    EMIT(emitter, 0x89, 0x01); /* mov %eax, (%rcx) */
    shape->commit = (uint8_t)(emitter->at - start);
    EMIT(emitter, 0x8B, 0x4C, 0x01, offsetof(struct trampoline_state, never));
    emit_trap_if_pending(emitter); /* mov never(%rcx,%rax), %ecx: or pending, with IF */
    emit_restore(emitter, 8);
}

/* May be executed again from the start at any time: it has no input but the time. */
static void emit_rdtscp(struct emitter *emitter, size_t start, struct patch_shape *shape)
{
    uint8_t aux = offsetof(struct trampoline_state, tsc_aux);
    EMIT(emitter, 0x0F, 0x01, 0xF9); /* rdtscp */
    if (emitter->target->mode == TRAMPOLINE_SINGLE) {
        EMIT(emitter, 0x8B, 0x0D); /* mov tsc_aux(%rip), %ecx */
        emit_distance(emitter, emitter->target->state + aux, 0);
    } else {
        EMIT(emitter, 0x48, 0x89, 0x84, 0x24); /* mov %rax, -136(%rsp) */
        emit_word(emitter, -(uint32_t)TRAMPOLINE_RAX_BELOW);
        emit_find_state(emitter);
        EMIT(emitter, 0x8B, 0x49, aux);        /* mov tsc_aux(%rcx), %ecx */
        EMIT(emitter, 0x48, 0x8B, 0x84, 0x24); /* mov -136(%rsp), %rax */
        emit_word(emitter, -(uint32_t)TRAMPOLINE_RAX_BELOW);
    }
    shape->commit = (uint8_t)(emitter->at - start);
}

/* ECX = enum trampoline_port of the port in DX, less one. */
static void emit_look_up_port(struct emitter *emitter)
{
    EMIT(emitter, 0x0F, 0xB7, 0xC2); /* movzwl %dx, %eax */
    EMIT(emitter, 0x48, 0x8D, 0x0D); /* lea ports(%rip), %rcx */
    emit_distance(emitter, emitter->target->ports, 0);
    EMIT(emitter, 0x0F, 0xB6, 0x0C, 0x01); /* movzbl (%rcx,%rax), %ecx */
    EMIT(emitter, 0x8D, 0x49, 0xFF);       /* lea -1(%rcx), %ecx */
}

/* Trap unless ECX is 0. */
static void emit_trap_unless_zero(struct emitter *emitter)
{
    EMIT(emitter, 0xE3, 0x01); /* jrcxz over it */
    EMIT(emitter, 0xF4);       /* hlt */
}

/* Has no effect but its result, so it may be executed again from the start at any time. */
static void emit_in(struct emitter *emitter, size_t start, bool byte, struct patch_shape *shape)
{
    emit_save(emitter);
    shape->spilled = (uint8_t)(emitter->at - start);
    emit_look_up_port(emitter);
    emit_trap_unless_zero(emitter);
    emit_restore(emitter, 0);
    if (byte)
        EMIT(emitter, 0xB0, 0xFF, 0x0F, 0x1F, 0x00); /* mov $-1, %al; as long as the other */
    else
        EMIT(emitter, 0xB8, 0xFF, 0xFF, 0xFF, 0xFF); /* mov $-1, %eax */
    shape->commit = (uint8_t)(emitter->at - start);
}

/* Append to the list of writes. Starts with ECX = 1 less than in emit_look_up_port. */
static void emit_queue(struct emitter *emitter, bool byte)
{
    uint64_t free_write = emitter->target->state + offsetof(struct trampoline_state, free_write);
    EMIT(emitter, 0x8D, 0x49, 0xFF); /* lea -1(%rcx), %ecx */
    emit_trap_unless_zero(emitter);
    EMIT(emitter, 0x48, 0x8B, 0x0D); /* mov free_write(%rip), %rcx */
    emit_distance(emitter, free_write, 0);
    EMIT(emitter, 0xE3, 0x02, 0xEB, 0x01, 0xF4); /* trap if it is 0: jrcxz 1f; jmp 2f; 1: hlt; 2: */
    EMIT(emitter, 0x8B, 0x84, 0x24);             /* mov -136(%rsp), %eax */
    emit_word(emitter, -(uint32_t)TRAMPOLINE_RAX_BELOW);
    EMIT(emitter, 0x89, 0x01); /* mov %eax, data(%rcx) */
    EMIT(emitter, 0x66, 0x89, 0x51, offsetof(struct trampoline_write, port)); /* mov %dx */
    EMIT(emitter, 0xC6, 0x41, offsetof(struct trampoline_write, size), byte ? 1 : 4);
    EMIT(emitter, 0x48, 0x8B, 0x49, offsetof(struct trampoline_write, next)); /* mov to %rcx */
    EMIT(emitter, 0x48, 0x89, 0x0D); /* mov %rcx, free_write(%rip) */
    emit_distance(emitter, free_write, 0);
}

static void emit_out(struct emitter *emitter, size_t start, bool byte, struct patch_shape *shape)
{
    emit_save(emitter);
    shape->spilled = (uint8_t)(emitter->at - start);
    emit_look_up_port(emitter);
    if (emitter->target->mode == TRAMPOLINE_SINGLE) {
        EMIT(emitter, 0xE3, 0); /* jrcxz over the rest */
        size_t from = emitter->at;
        emit_queue(emitter, byte);
        if (!emitter->failed)
            emitter->to[from - 1] = (uint8_t)(emitter->at - from);
    } else {
        emit_trap_unless_zero(emitter);
    }
    shape->commit = (uint8_t)(emitter->at - start);
    emit_restore(emitter, 0);
}

static void emit_sequence(struct emitter *emitter, const struct decode_insn *insn,
                          enum sweep_kind kind, struct patch_shape *shapes)
{
    size_t start = emitter->at;
    struct patch_shape shape = {0};
    bool byte = !(insn->opcode & 1); /* of in and out */
    switch (kind) {
    case SWEEP_CLI:
        emit_cli(emitter, start, &shape);
        break;
    case SWEEP_STI:
        emit_sti(emitter, start, &shape);
        break;
    case SWEEP_PUSHF:
        emit_pushfq(emitter, start, &shape);
        break;
    case SWEEP_POPF:
        emit_popfq(emitter, start, &shape);
        break;
    case SWEEP_RDTSCP:
        emit_rdtscp(emitter, start, &shape);
        break;
    case SWEEP_IN:
        emit_in(emitter, start, byte, &shape);
        break;
    case SWEEP_OUT:
        emit_out(emitter, start, byte, &shape);
        break;
    default:
        emitter->failed = true;
    }
    if (!emitter->failed)
        shapes[kind] = shape;
}

static void emit_moved(struct emitter *emitter, const struct decode_insn *insn, const uint8_t *code,
                       uint64_t address)
{
    if (insn->flow == DECODE_JUMP || insn->flow == DECODE_BRANCH) {
        if (insn->flow == DECODE_JUMP)
            EMIT(emitter, 0xE9);
        else
            EMIT(emitter, 0x0F, 0x80 | (insn->opcode & 15));
        emit_distance(emitter, decode_target(insn, code, address), 0);
    } else if (insn->disp_offset) {
        int32_t disp;
        memcpy(&disp, code + insn->disp_offset, sizeof disp);
        size_t behind = insn->length - insn->disp_offset - sizeof disp;
        emit(emitter, code, insn->disp_offset);
        emit_distance(emitter, address + insn->length + (uint64_t)(int64_t)disp, behind);
        emit(emitter, code + insn->disp_offset + sizeof disp, behind);
    } else {
        emit(emitter, code, insn->length);
    }
}

void trampoline_link_writes(struct trampoline_state *state, uint64_t address)
{
    uint64_t first = address + offsetof(struct trampoline_state, writes);
    for (size_t i = 0; i < TRAMPOLINE_WRITES; i++)
        state->writes[i].next = i + 1 < TRAMPOLINE_WRITES
                                    ? first + (i + 1) * sizeof state->writes[0]
                                    : 0;
}

uint16_t trampoline_selector(unsigned vcpu)
{
    static const uint8_t segments[] = {0x28, 0x30, 0x20};
    return (uint16_t)(segments[vcpu / 4 % 3] | (3 - vcpu % 4));
}

bool trampoline_replaces(const struct decode_insn *insn)
{
    switch (sweep_classify(insn)) {
    case SWEEP_CLI:
    case SWEEP_STI:
    case SWEEP_PUSHF:
    case SWEEP_POPF: /* not pushfw and popfw */
    case SWEEP_IN:   /* not inw and outw */
    case SWEEP_OUT:
        return !(insn->prefixes & DECODE_66);
    case SWEEP_RDTSCP:
        return true;
    default:
        return false;
    }
}

/* Whatever traps anyway would only make the engine's work harder. */
static bool traps(const struct decode_insn *insn)
{
    uint8_t opcode = insn->opcode;
    if (insn->map == DECODE_ONE_BYTE)
        return (opcode >= 0x6C && opcode <= 0x6F) || opcode == 0xCC || opcode == 0xF1 ||
               opcode == 0xF4 || (opcode >= 0xE4 && opcode <= 0xE7) || opcode >> 2 == 0xEC >> 2;
    if (insn->map != DECODE_0F)
        return false;
    switch (opcode) {
    case 0x00 ... 0x0B:
    case 0x20 ... 0x23:
    case 0x30:
    case 0x32 ... 0x37:
    case 0x78:
    case 0x79:
    case 0xAA:
        return true;
    case 0xC7: /* cmpxchg8b is the only harmless one */
        return decode_reg(insn) != 1;
    default:
        return false;
    }
}

bool trampoline_can_move(const struct decode_insn *insn)
{
    switch (insn->flow) {
    case DECODE_NEXT:
    case DECODE_JUMP:
    case DECODE_BRANCH:
    case DECODE_JUMP_INDIRECT:
    case DECODE_RETURN:
        return sweep_classify(insn) == SWEEP_NONE && !traps(insn) &&
               !(insn->disp_offset && (insn->prefixes & DECODE_67));
    default:
        return false;
    }
}

bool trampoline_emit(const struct trampoline_target *target, struct patch *patch, uint8_t *to,
                     uint64_t address, struct patch_shape *shapes)
{
    struct emitter emitter = {.target = target, .to = to, .address = address};
    struct decode_insn insn = {0};
    patch->step_count = 0;
    for (size_t at = 0; at < patch->length; at += insn.length) {
        const uint8_t *code = patch->original + at;
        if (patch->step_count == PATCH_STEPS_MAX - 1 || !decode(code, patch->length - at, &insn))
            return false;
        bool replaced = trampoline_replaces(&insn);
        enum sweep_kind kind = replaced ? sweep_classify(&insn) : SWEEP_NONE;
        patch->steps[patch->step_count++] = (struct patch_step){(uint8_t)at, kind,
                                                                (uint16_t)emitter.at};
        if (replaced)
            emit_sequence(&emitter, &insn, kind, shapes);
        else if (trampoline_can_move(&insn))
            emit_moved(&emitter, &insn, code, patch->address + at);
        else
            return false;
    }
    if (!decode_ends_block(&insn)) {
        patch->steps[patch->step_count++] = (struct patch_step){patch->length, SWEEP_NONE,
                                                                (uint16_t)emitter.at};
        EMIT(&emitter, 0xE9); /* jmp back */
        emit_distance(&emitter, patch->address + patch->length, 0);
    }
    patch->size = (uint16_t)emitter.at;
    return !emitter.failed;
}
