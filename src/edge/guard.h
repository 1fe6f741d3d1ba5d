#ifndef EDGE_GUARD_H
#define EDGE_GUARD_H
/* guard: how fast somebody may guess passwords, and how fast connections may come; one a shard, part of its door. The guesses are the
 * node's: all guards share one table of them. Private to the edge.
 *
 * A guess is a password that was tried and is wrong, for an account that exists or not. Three token buckets are kept for it; a wrong guess
 * takes a token from each, time brings one back every refill, a right password takes none:
 *
 *     account from an address    10, one in 30 s    empty: refused, right or wrong, in every byte as a wrong password is refused
 *     address                    50, one in  6 s    empty: the same
 *     account, from anywhere    100, one in 10 s    empty: each attempt waits for EDGE_GUARD_DELAY_MAX at most, then it is judged
 *
 * Why it is so. Who guesses at somebody's account empties the first bucket for his own address only: the owner comes from another one and
 * is let in; a bucket for the account alone that refuses would be a way to lock the owner out (CWE-645). So that bucket only delays; the
 * attempt still ends well before auth_deadline. Who tries one password on many accounts (spraying) empties the second. What is refused does
 * not look at the password, so that no guess succeeds in that time, and looks like a wrong password, so that the guesser does not learn
 * which guesses were judged. An attempt that is refused takes no token, so that a bucket fills however often it is asked; a device with an
 * old password that tries every 30 s never empties it. Names that are no account are counted as accounts are: the limits tell nothing.
 *
 * The defaults: 2,880 guesses a day at one account from one address, 14,400 from one address at all; a person needs a handful, an office
 * of a thousand behind one address less than 50 at once. Others: ejabberd's mod_fail2ban refuses an address for an hour after 20 failures,
 * so that one neighbour locks out everybody behind it; Dovecot delays an address by up to 15 s, which many attempts at once get around.
 *
 * What it does not do: N addresses make N times the guesses at one account (each is slow, all are together); in IPv6 an address is the
 * /64, and a /48 has 65,536 of them. Behind one address, a guesser and the owner of the account cannot be told apart.
 *
 * Memory: for each kind of bucket EDGE_GUARD_CELLS cells of 16 bytes, whatever happens. A key (SipHash with the node's key) chooses a set
 * of eight cells; a new bucket takes the place of the one that is full soonest, a full bucket being worth nothing. So a flood of new
 * addresses displaces its own young buckets. To displace an empty one takes eight others as empty in its set, and nobody can tell which set
 * that is: far more guesses than are won by it. Should a table be full of empty buckets, a newcomer is let in all the same.
 *
 * Guesses are kept in a table of the runtime (rt/table.h) that every shard writes to, set by set: a guess on one shard counts on all at
 * once. The edge actor that made it owns it, and its supervisor keeps it for the next one: no crash forgives a guess. The rates of
 * connections are each shard's own, split as the other limits of the door are. */
#include "base/hash.h"
#include "edge/edge.h"
#include "rt/table.h"

#define EDGE_GUARD_TABLE     "edge.guesses"
#define EDGE_GUARD_CELLS     8192u              /* of a kind */
#define EDGE_GUARD_WAYS      8u                 /* cells in which a bucket may lie */
#define EDGE_GUARD_DELAY_MAX (5 * USEC_PER_SEC) /* of an attempt, and never more than half of what is left to auth_deadline */
#define EDGE_GUARD_BURST     1000u              /* connections at once from one address, where per_ip_max sets no limit */

typedef struct edge_guard edge_guard;
typedef struct edge_guard_key { /* of an attempt: the hashes of its three buckets */
    uint64_t pair, address, account;
} edge_guard_key;

edge_guard *edge_guard_new(const edge_cfg *c, const hash_key *k, unsigned shards); /* both are borrowed for its life */
void edge_guard_free(edge_guard *g);                                               /* NULL is fine */
/* Shares the node's table of guesses, making it if there is none. By the edge actor, in its init. Errors as rt_table_create. */
NODISCARD err edge_guard_share(rt_ctx *cx, edge_guard *g);
/* What counts as one address: all of IPv4, also in a v6 socket; 64 bits of IPv6. */
uint64_t edge_guard_prefix(const sys_addr *a);
edge_guard_key edge_guard_key_of(const edge_guard *g, slice account, const sys_addr *a); /* account: a bare JID */

/* May an attempt succeed? To be asked when the verdict is known, so that many guesses at once get no more than one after the other. */
bool edge_guard_open(rt_reader *r, const edge_guard *g, const edge_guard_key *k, usec now);
/* How long the attempt is to wait before it is judged; 0: not at all. */
usec edge_guard_delay(rt_reader *r, const edge_guard *g, const edge_guard_key *k, usec now);
/* A wrong guess. On failure (as rt_table_update; ERR_FULL: a shard is stuck) it may not have been counted in every bucket. */
NODISCARD err edge_guard_failed(rt_reader *r, edge_guard *g, const edge_guard_key *k, usec now);

/* When the next connection may be accepted: at most now if it may be at once. */
usec edge_guard_accept_at(const edge_guard *g, usec now);
void edge_guard_accepted(edge_guard *g, usec now);
/* A connection from a has been accepted; false: the address makes them too fast, and this one is to be closed. */
bool edge_guard_arrived(edge_guard *g, const sys_addr *a, usec now);

#endif
