/* flow: one direction of a stream. Bytes are read, given a time, held, and written when the time has come.
 *
 * Time of a byte: it leaves the token bucket, then travels for delay + jitter of its segment; the first part of a segment that was lost
 * or overtaken is late by that too, and what is behind it waits, as TCP makes it wait. A segment is the `segment` bytes from a multiple of
 * `segment` on: its fate does not depend on how the reads happened to cut the stream.
 *
 * Without any damage and with an empty queue, bytes go from a read to a write through one buffer of the relay, or, while much comes,
 * through one pipe of the relay without being copied. */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GIVE_MAX    (256u << 10) /* bytes of one write */
#define GIVE_ROUNDS 64           /* writes before others have their turn */
#define READ_ROUNDS 4
#define BULK        (16 << 10) /* a read of so much is followed by a splice */

void flow_init(flow *f, conn *c, dir d) {
    *f = (flow){.c = c, .dir = d, .after_next = relay_after_next(c->r, d, 0, 0), .healed = c->r->dir[d].healed};
    queue_init(&f->q);
}

void flow_fini(flow *f) {
    flow_link(f)->count.held -= f->q.len;
    queue_fini(&f->q);
    loop_timer_clear(&f->c->r->loop, &f->timer);
}

bool flow_cut(const flow *f) { return f->cut.on || flow_link(f)->cut.on; }
bool flow_half_open(const flow *f) { return f->half_open.on || flow_link(f)->half_open.on; }

static fate_key key(const flow *f) { return (fate_key){f->c->r->seed, f->c->number, f->dir}; }

static void decided(const flow *f, uint64_t pos, const char *what, uint64_t n) {
    trace_event(&f->c->r->trace, f->c->number, f->dir, pos, what, n);
}

bool flow_can_read(const flow *f) {
    const side *s = &f->c->side[f->dir];
    return !f->c->resetting && s->io.fd >= 0 && s->readable && f->end == END_NONE && !f->sink &&
           queue_room(&f->q, flow_link(f)->set.queue) > 0;
}

/* Draws the fate of the segment that starts at pos, writes down what is decided, and returns how late it makes the segment. */
static usec segment_late(flow *f, uint64_t pos, bool begins, size_t len, usec now) {
    link_dir *l = flow_link(f);
    fate_key k = key(f);
    fate t;
    if (!fate_any(&l->set)) return 0;
    fate_draw(&k, pos, &l->set, &t);
    if (!begins) return t.jitter; /* what happens once to the segment happened to its first part */
    if (l->set.jitter > 0) decided(f, pos, "jitter", (uint64_t)t.jitter);
    if (t.losses > 0) {
        l->count.lost += t.losses;
        decided(f, pos, "loss", t.losses);
        decided(f, pos, "stall", (uint64_t)t.stall);
    }
    if (t.losses > WARP_RETRIES_MAX) f->end = END_TIMEOUT;
    if (t.twice) {
        l->count.duplicated++;
        decided(f, pos, "duplicate", 1);
        (void)relay_rate(f->c->r, f->dir, len, now); /* its time is of no interest: TCP drops the second */
    }
    if (t.overtaken) {
        l->count.reordered++;
        decided(f, pos, "reorder", (uint64_t)l->set.gap);
    }
    return t.jitter + t.stall + (t.overtaken ? l->set.gap : 0);
}

static void hold_bytes(flow *f, slice bytes, usec due) {
    link_dir *l = flow_link(f);
    if (due < f->due_last) due = f->due_last;
    f->due_last = due;
    queue_add(&f->q, bytes, due);
    l->count.held += bytes.len;
}

/* Gives each part of what was read its time and holds it. */
static void schedule(flow *f, slice in, usec now) {
    const warp_set *s = &flow_link(f)->set;
    bool each = fate_any(s) || s->rate > 0;
    while (in.len > 0 && f->end == END_NONE) {
        uint64_t start = f->taken - f->taken % s->segment;
        size_t part = each && start + s->segment - f->taken < in.len ? (size_t)(start + s->segment - f->taken) : in.len;
        usec due = relay_rate(f->c->r, f->dir, part, now) + s->delay;
        due += each ? segment_late(f, start, start == f->taken, part, now) : 0;
        flow_link(f)->count.taken += part;
        if (f->end == END_TIMEOUT) { /* it never arrives, nor does what is behind it */
            f->end_due = due > f->due_last ? due : f->due_last;
            return;
        }
        hold_bytes(f, slice_sub(in, 0, part), due);
        f->taken += part;
        in = slice_from(in, part);
    }
}

static bool undamaged(const flow *f) {
    const warp_set *s = &flow_link(f)->set;
    return f->q.len == 0 && f->c->connected && !flow_cut(f) && f->c->side[1 - f->dir].writable && s->delay == 0 && s->rate == 0 &&
           s->chunk == 0 && !fate_any(s) && f->due_last <= loop_now();
}

/* The receiver's socket failed. What comes for it from now on has nowhere to go; its own direction ends as a broken one. */
static void receiver_gone(flow *f) {
    flow_link(f)->count.held -= f->q.len;
    f->taken -= f->q.len;
    queue_fini(&f->q);
    f->sink = true;
    flow_broken(&f->c->flow[1 - f->dir]);
}

/* Writes what the receiver takes. Returns how many bytes; 0 also after an error. */
static size_t put(flow *f, uint8_t *p, size_t n) {
    link_dir *l = flow_link(f);
    relay_flip(f->c->r, &f->flips, f->c->number, f->dir, p, n, f->given);
    int eor = l->set.chunk > 0 ? MSG_EOR : 0; /* the kernel joins nothing to it */
    ssize_t k = send(flow_to(f)->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT | eor);
    if (k < 0 && errno == EINTR) return 0;
    if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        flow_to(f)->writable = false;
    else if (k < 0)
        receiver_gone(f);
    if (k <= 0) return 0;
    f->given += (uint64_t)k;
    l->count.given += (uint64_t)k;
    l->count.writes++;
    return (size_t)k;
}

static void fire(flow *f) {
    if (f->given < f->after_next) return;
    relay_after_fire(f->c->r, f->c->number, f->dir, f->given, &f->fired);
    f->after_next = relay_after_next(f->c->r, f->dir, f->given, f->fired);
}

/* What was taken from the sender and offered to the receiver directly: n of it went, left stays. */
static void passed(flow *f, size_t n, slice left) {
    f->taken += n;
    flow_link(f)->count.taken += n + left.len;
    if (f->sink) return;
    f->taken += left.len;
    hold_bytes(f, left, 0);
    fire(f);
}

/* Through the relay's pipe, without copying, as recv would: how many bytes came. The pipe is empty before and after. */
static ssize_t splice_through(flow *f, size_t want) {
    relay *r = f->c->r;
    link_dir *l = flow_link(f);
    const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    ssize_t n = splice(flow_from(f)->io.fd, NULL, r->pipe[1], NULL, want, flags);
    if (n <= 0) return n;
    size_t done = 0, left = (size_t)n;
    while (left > 0) {
        ssize_t k = splice(r->pipe[0], NULL, flow_to(f)->io.fd, NULL, left, flags);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) break;
        done += (size_t)k;
        left -= (size_t)k;
    }
    bool broken = left > 0 && errno != EAGAIN && errno != EWOULDBLOCK;
    f->given += done;
    f->flips.seen = f->given;
    l->count.given += done;
    if (done > 0) l->count.writes++;
    for (size_t got = 0; got < left;) {
        ssize_t k = read(r->pipe[0], r->scratch + got, left - got);
        if (k <= 0) panic("%zu bytes in the pipe cannot be read: %s", left - got, strerror(errno));
        got += (size_t)k;
    }
    if (left > 0) flow_to(f)->writable = false;
    if (broken) receiver_gone(f);
    passed(f, done, slice_of(r->scratch, left));
    return n;
}

/* Reads once, at most want bytes; direct: nothing is held and nothing is damaged. Returns what recv returned. */
static ssize_t read_once(flow *f, size_t want, bool direct) {
    relay *r = f->c->r;
    if (direct && f->bulk && f->flips.want == 0 && flow_link(f)->set.flip <= 0) {
        ssize_t n = splice_through(f, want);
        f->bulk = n >= BULK;
        return n;
    }
    ssize_t n = recv(flow_from(f)->io.fd, r->scratch, want, MSG_DONTWAIT);
    f->bulk = n >= BULK;
    if (n > 0 && direct) {
        size_t k = put(f, r->scratch, (size_t)n);
        passed(f, k, slice_of(r->scratch + k, (size_t)n - k));
    } else if (n > 0)
        schedule(f, slice_of(r->scratch, (size_t)n), loop_now());
    return n;
}

bool flow_read(flow *f) {
    side *s = flow_from(f);
    bool moved = false;
    for (int i = 0; i < READ_ROUNDS && flow_can_read(f) && !f->c->closed; i++) {
        if (f->c->connected) fire(f); /* what is due at this very byte */
        if (f->c->closed || !flow_can_read(f)) return true;
        bool direct = undamaged(f);
        size_t want = queue_room(&f->q, flow_link(f)->set.queue);
        if (want > RELAY_SCRATCH) want = RELAY_SCRATCH;
        if (direct && f->after_next - f->given < want) want = (size_t)(f->after_next - f->given);
        ssize_t n = read_once(f, want, direct);
        if (n > 0)
            flow_link(f)->count.reads++;
        else if (n == 0) {
            f->end = END_FIN;
            usec at = loop_now() + flow_link(f)->set.delay;
            f->end_due = at > f->due_last ? at : f->due_last;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            s->readable = false;
            break;
        } else if (errno != EINTR)
            flow_broken(f);
        moved = true;
    }
    return moved;
}

void flow_broken(flow *f) {
    flow_from(f)->readable = false;
    if (f->end == END_RST || f->end == END_TIMEOUT || f->muted) return;
    f->end = END_RST;
    f->done = false;
    usec at = loop_now() + flow_link(f)->set.delay;
    f->end_due = at > f->due_last ? at : f->due_last;
    f->c->flow[1 - f->dir].sink = true; /* its sender can hear nothing any more */
    decided(f, f->taken, "broken", 0);
}

/* All bytes are with the receiver: now it may hear how it ends. */
static bool give_end(flow *f) {
    conn *c = f->c;
    link_dir *l = flow_link(f);
    if (f->sink && f->end == END_NONE && (flow_from(f)->hup || flow_from(f)->io.fd < 0)) f->end = END_FIN;
    if (f->end == END_NONE || f->done || f->q.len > 0) return false;
    if (f->sink) {
        f->done = true;
        return true;
    }
    if (!c->connected || c->resetting || flow_cut(f) || f->end_due > loop_now()) return false;
    f->done = true;
    if (f->end == END_TIMEOUT) {
        decided(f, f->taken, "timeout", 0);
        c->r->resets++;
        conn_close(c, true, true);
    } else if (flow_half_open(f)) {
        f->muted = true;
        l->count.muted++;
        decided(f, f->taken, "muted", 0);
    } else if (f->end == END_RST) {
        decided(f, f->taken, "rst", 0);
        conn_close(c, true, true);
    } else {
        l->count.fins++;
        decided(f, f->taken, "fin", 0);
        (void)shutdown(flow_to(f)->io.fd, SHUT_WR); /* if the receiver is gone, it will be heard from its side */
    }
    return true;
}

/* What a heal lets go: all that was held when it came. */
static void follow_heal(flow *f) {
    if (f->healed == flow_link(f)->healed) return;
    f->healed = flow_link(f)->healed;
    queue_release(&f->q);
    f->due_last = f->end_due = f->pace_until = 0;
}

bool flow_give(flow *f) {
    const warp_set *s = &flow_link(f)->set;
    side *to = flow_to(f);
    bool moved = false;
    follow_heal(f);
    if (f->sink && f->q.len > 0) receiver_gone(f);
    for (int i = 0; i < GIVE_ROUNDS && f->q.len > 0; i++) {
        if (!f->c->connected || flow_cut(f) || !to->writable || to->io.fd < 0 || f->c->resetting) break;
        fire(f);
        if (f->c->closed || f->c->resetting || flow_cut(f)) return true;
        usec now = loop_now();
        size_t n, max = s->chunk > 0 && s->chunk < GIVE_MAX ? (size_t)s->chunk : GIVE_MAX;
        if (f->after_next - f->given < max) max = (size_t)(f->after_next - f->given);
        uint8_t *p = f->pace_until > now ? NULL : queue_due(&f->q, now, max, &n);
        if (!p) break;
        size_t k = put(f, p, n);
        if (f->sink) return true;
        if (k == 0) continue;
        queue_drop(&f->q, k);
        flow_link(f)->count.held -= k;
        if (s->chunk > 0 && s->pace > 0) f->pace_until = loop_now() + s->pace;
        moved = true;
        fire(f);
        if (f->c->closed) return true;
    }
    return give_end(f) || moved;
}

void flow_arm(flow *f) {
    usec at = USEC_NEVER;
    if (f->c->connected && !flow_cut(f) && !f->sink) {
        if (f->q.len > 0 && flow_to(f)->writable)
            at = queue_next(&f->q);
        else if (f->q.len == 0 && f->end != END_NONE && !f->done)
            at = f->end_due;
        if (at != USEC_NEVER && f->q.len > 0 && at < f->pace_until) at = f->pace_until;
    }
    if (at == USEC_NEVER)
        loop_timer_clear(&f->c->r->loop, &f->timer);
    else
        loop_timer_set(&f->c->r->loop, &f->timer, at);
}
