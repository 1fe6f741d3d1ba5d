/* pairs: see mode.h. The body of a message is "run pair sequence time padding". Lost: a number that was sent and never came; doubled: came
 * again; reordered: came after a higher one; misdelivered: came to another client; errors: came back.
 * Stale: of an earlier run that ended before its receivers had acked; delivered again, as promised. */
#include "base/codec.h"
#include "base/mem.h"
#include "mode.h"
#include "proto/xmpp/ns.h"

#define BODY_MIN 72u /* four numbers and the spaces between them */
#define NUMBERS  4

void pairs_init(pairs *ps, const mode_cfg *m) {
    *ps = (pairs){.n = (uint32_t)m->pairs,
                  .window = (uint32_t)m->window,
                  .bytes = (uint32_t)m->bytes < BODY_MIN ? BODY_MIN : (uint32_t)m->bytes,
                  .acks = m->load.acks,
                  .to_full = m->to_full,
                  .domain = m->load.domain,
                  .user = m->load.user,
                  .first = (uint32_t)m->first,
                  .run = bench_nsec()};
    ps->p = mem_zalloc(ps->n * sizeof *ps->p);
    for (uint32_t i = 0; i < ps->n; i++) {
        ps->p[i].id = i;
        ps->p[i].sent_at = mem_zalloc(ps->window * sizeof(uint64_t));
    }
    ps->padding = mem_alloc(ps->bytes + 1);
    memset(ps->padding, 'x', ps->bytes);
    ps->padding[ps->bytes] = 0;
    hist_init(&ps->delivery);
    hist_init(&ps->ack);
}

void pairs_fini(pairs *ps) {
    for (uint32_t i = 0; i < ps->n; i++) {
        mem_free(ps->p[i].seen);
        mem_free(ps->p[i].sent_at);
    }
    mem_free(ps->p);
    mem_free(ps->padding);
}

uint32_t pairs_under_way(const pairs *ps, const pair *p, bool deliveries) {
    uint32_t n = deliveries ? p->sent - p->unique : 0;
    return ps->acks && p->sent - p->acked > n ? p->sent - p->acked : n;
}

void pairs_send(pairs *ps, pair *p) {
    char body[80], to[160];
    uint64_t now = bench_nsec();
    int n = snprintf(body, sizeof body, "%llu %u %u %llu ", (unsigned long long)ps->run, p->id, p->sent, (unsigned long long)now);
    if (ps->to_full) {
        (void)snprintf(to, sizeof to, "%s", p->to->jid);
    } else {
        char name[64];
        load_name(name, ps->user, ps->first + 2 * p->id + 1);
        (void)snprintf(to, sizeof to, "%s@%s", name, ps->domain);
    }
    buf_addf(client_out(p->from, true), "<message type='chat' to='%s' id='m%u'><body>%s%s</body></message>", to, p->sent, body,
             ps->padding + n);
    p->sent_at[p->sent % ps->window] = now;
    p->sent++;
    ps->sent++;
}

static bool read_body(slice body, uint64_t out[NUMBERS]) {
    for (int i = 0; i < NUMBERS; i++) {
        size_t end = slice_find(body, ' ');
        if (dec_parse_u64(slice_sub(body, 0, end), UINT64_MAX, &out[i]) != ERR_OK) return false;
        body = slice_from(body, end + 1);
    }
    return true;
}

pair *pairs_got(pairs *ps, client *at, const xmpp_node *m) {
    const xmpp_node *body = xmpp_xml_child(m, NS_CLIENT, "body");
    uint64_t f[NUMBERS];
    if (slice_is(xmpp_xml_attr(m, "type"), "error")) {
        ps->errors++;
        return NULL;
    }
    if (!body || !read_body(xmpp_xml_text(body, &at->l->arena), f)) return NULL;
    if (f[0] != ps->run) {
        ps->stale++;
        return NULL;
    }
    const uint64_t *v = f + 1;
    if (v[0] >= ps->n || v[1] >= ps->p[v[0]].sent || ps->p[v[0]].to != at) {
        ps->misdelivered++;
        return NULL;
    }
    pair *p = &ps->p[v[0]];
    uint32_t seq = (uint32_t)v[1];
    size_t had = p->seen_cap;
    mem_grow((void **)&p->seen, &p->seen_cap, seq / 8 + 1, 1);
    if (p->seen_cap > had) memset(p->seen + had, 0, p->seen_cap - had);
    uint8_t bit = (uint8_t)(1u << (seq % 8));
    if (p->seen[seq / 8] & bit) {
        ps->doubled++;
        return p;
    }
    p->seen[seq / 8] |= bit;
    p->unique++;
    ps->received++;
    if (seq < p->expect)
        ps->reordered++;
    else
        p->expect = seq + 1;
    hist_add(&ps->delivery, at->l->now > v[2] ? at->l->now - v[2] : 0);
    return p;
}

/* The sender's stream counts its messages alone after the first one was sent, but for answers to requests of the server, which are few:
 * they make an ack seem later than it was, never earlier. */
void pairs_acked(pairs *ps, pair *p) {
    uint32_t h = p->from->sm_acked, all = p->from->sm_out;
    uint32_t behind = all - h;
    uint32_t acked = p->sent > behind ? p->sent - behind : 0;
    for (; p->acked < acked; p->acked++) {
        uint64_t at = p->sent_at[p->acked % ps->window];
        hist_add(&ps->ack, p->from->l->now > at ? p->from->l->now - at : 0);
    }
}

void pairs_clear_times(pairs *ps) {
    hist_init(&ps->delivery);
    hist_init(&ps->ack);
}

uint64_t pairs_lost(const pairs *ps) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < ps->n; i++) n += ps->p[i].sent - ps->p[i].unique;
    return n;
}

uint64_t pairs_unacked(const pairs *ps) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < ps->n; i++) n += ps->p[i].sent - ps->p[i].acked;
    return ps->acks ? n : 0;
}

bool pairs_clean(const pairs *ps) {
    return pairs_lost(ps) == 0 && pairs_unacked(ps) == 0 && ps->doubled + ps->reordered + ps->misdelivered + ps->errors == 0;
}

void pairs_report(const pairs *ps) {
    bench_report_num("sent", "messages", (double)ps->sent);
    bench_report_num("lost", "messages", (double)pairs_lost(ps));
    bench_report_num("doubled", "messages", (double)ps->doubled);
    bench_report_num("reordered", "messages", (double)ps->reordered);
    bench_report_num("misdelivered", "messages", (double)ps->misdelivered);
    bench_report_num("errors", "messages", (double)ps->errors);
    bench_report_num("stale", "messages of an earlier run", (double)ps->stale);
    if (ps->acks) bench_report_num("unacked", "messages", (double)pairs_unacked(ps));
}
