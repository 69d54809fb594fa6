/*
 * What all proofs start with. A proof is a file that includes the source it is about and, behind
 * it, gives contracts (ACSL) to the functions of it: what a caller must see to, what may change,
 * and what holds afterwards. WP of Frama-C then shows for each function that, called as its
 * contract says, no operation in it can go wrong for any input and the contracts of what it calls
 * are kept. tools/prove.sh runs them; the first comment of each says what it shows, within which
 * bounds, and what is assumed beyond that.
 *
 * Here is what stands in for the compiler's builtins and for the C library.
 */
#ifndef PROVE_H
#define PROVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No object is larger. */
#define OBJECT_MAX 0x7fffffffffffffff

/* The checked operations, for the only type that what is proved uses them with. */
/*@ requires \valid(sum);
    assigns *sum, \result \from a, b;
    ensures *sum == (a + b) % 0x10000000000000000;
    ensures \result == 1 <==> a + b > 0xffffffffffffffff;
    ensures \result == 0 <==> a + b <= 0xffffffffffffffff; */
bool prove_add(uint64_t a, uint64_t b, uint64_t *sum);

/*@ requires \valid(difference);
    assigns *difference, \result \from a, b;
    ensures a >= b ==> *difference == a - b;
    ensures \result == 1 <==> a < b;
    ensures \result == 0 <==> a >= b; */
bool prove_sub(uint64_t a, uint64_t b, uint64_t *difference);

/*@ requires \valid(product);
    assigns *product, \result \from a, b;
    ensures \result == 1 <==> a * b > 0xffffffffffffffff;
    ensures \result == 0 <==> a * b <= 0xffffffffffffffff && *product == a * b; */
bool prove_mul(uint64_t a, uint64_t b, uint64_t *product);

#define __builtin_add_overflow prove_add
#define __builtin_sub_overflow prove_sub
#define __builtin_mul_overflow prove_mul

/* For proofs that are a program: a value, and bytes, of which nothing is known. */
//@ assigns \result \from \nothing;
uint64_t any_u64(void);

/*@ requires \valid((uint8_t *)to + (0 .. size - 1));
    assigns ((uint8_t *)to)[0 .. size - 1] \from size;
    ensures \initialized((uint8_t *)to + (0 .. size - 1)); */
void any_bytes(void *to, uint64_t size);

/* What must be true. */
//@ requires condition != 0; assigns \nothing;
void check(int condition);

/* Takes the place of the C library's header. */
#define __FC_STRING_H_ 1

/*@ predicate ends(char *s, integer n) =
        0 <= n <= OBJECT_MAX && \valid_read(s + (0 .. n)) && s[n] == 0;
    predicate terminated(char *s) = \exists integer n; ends(s, n);
    lemma terminated_0: \forall char *s; \valid_read(s) && s[0] == 0 ==> terminated(s);
    lemma terminated_1: \forall char *s; \valid_read(s + (0 .. 1)) && s[1] == 0 ==> terminated(s);
    lemma terminated_2: \forall char *s; \valid_read(s + (0 .. 2)) && s[2] == 0 ==> terminated(s);
    lemma ends_rest:
        \forall char *s, integer n; ends(s, n) && n >= 1 ==> ends(s + 1, n - 1);
    lemma terminated_rest:
        \forall char *s; terminated(s) && s[0] != 0 ==> terminated(s + 1); */

/*@ requires \valid((uint8_t *)to + (0 .. size - 1));
    requires \valid_read((uint8_t *)from + (0 .. size - 1));
    assigns ((uint8_t *)to)[0 .. size - 1], \result \from ((uint8_t *)from)[0 .. size - 1], to;
    ensures \result == to; */
void *memcpy(void *to, const void *from, size_t size);

/*@ requires \valid((uint8_t *)to + (0 .. size - 1));
    assigns ((uint8_t *)to)[0 .. size - 1], \result \from to, c;
    ensures \result == to; */
void *memset(void *to, int c, size_t size);

/*@ requires \valid_read((uint8_t *)a + (0 .. size - 1));
    requires \valid_read((uint8_t *)b + (0 .. size - 1));
    assigns \result \from ((uint8_t *)a)[0 .. size - 1], ((uint8_t *)b)[0 .. size - 1]; */
int memcmp(const void *a, const void *b, size_t size);

/*@ requires \valid_read((uint8_t *)from + (0 .. size - 1));
    assigns \result \from ((uint8_t *)from)[0 .. size - 1], from, c;
    ensures \result == \null || \exists integer i; 0 <= i < size && \result == (uint8_t *)from + i;
 */
void *memchr(const void *from, int c, size_t size);

/*@ requires terminated(s);
    assigns \result \from s[0 ..];
    ensures \result <= OBJECT_MAX && \valid_read(s + (0 .. \result)) && s[\result] == 0;
    ensures \forall integer i; 0 <= i < \result ==> s[i] != 0; */
size_t strlen(const char *s);

/*@ requires terminated(s) && terminated(reject);
    assigns \result \from s[0 ..], reject[0 ..];
    ensures \result <= OBJECT_MAX && \valid_read(s + (0 .. \result)) && terminated(s + \result);
    ensures \forall integer i; 0 <= i < \result ==> s[i] != 0; */
size_t strcspn(const char *s, const char *reject);

/*@ requires terminated(s) && terminated(accept);
    assigns \result \from s[0 ..], accept[0 ..];
    ensures \result <= OBJECT_MAX && \valid_read(s + (0 .. \result)) && terminated(s + \result); */
size_t strspn(const char *s, const char *accept);

/*@ requires terminated(s);
    assigns \result \from s, s[0 ..], c;
    ensures \result == \null || \base_addr(\result) == \base_addr(s) && terminated(\result); */
char *strchr(const char *s, int c);

/*@ requires terminated(a) && terminated(b);
    assigns \result \from a[0 ..], b[0 ..];
    ensures \result == 0 && b[0] == 0 ==> a[0] == 0; */
int strcmp(const char *a, const char *b);

/*@ requires terminated(a) && terminated(b);
    assigns \result \from a[0 .. size - 1], b[0 .. size - 1];
    ensures \result == 0 ==> \forall integer i; 0 <= i < size &&
                (\forall integer j; 0 <= j < i ==> b[j] != 0) ==> a[i] == b[i]; */
int strncmp(const char *a, const char *b, size_t size);

#endif
