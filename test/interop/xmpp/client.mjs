// A client over @xmpp/client: logs in, sends or waits, prints one JSON line per event. usage: node client.mjs PORT USER PASSWORD send TO TEXT N | wait N
import { client, xml } from "@xmpp/client";

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // the server's certificate is its own
const [port, username, password, action, ...rest] = process.argv.slice(2);
const xmpp = client({ service: `xmpp://127.0.0.1:${port}`, domain: "localhost", resource: "js", username, password });
const say = (o) => console.log(JSON.stringify(o));
let seen = 0;

xmpp.on("error", (e) => { say({ error: String(e) }); process.exit(1); });
xmpp.on("stanza", async (stanza) => {
  if (!stanza.is("message") || !stanza.getChild("body")) return;
  say({ from: stanza.attrs.from, body: stanza.getChildText("body"), delay: !!stanza.getChild("delay") });
  if (action === "wait" && ++seen === Number(rest[0])) { await xmpp.stop(); process.exit(0); }
});
xmpp.on("online", async (jid) => {
  say({ online: jid.toString() });
  await xmpp.send(xml("presence"));
  if (action !== "send") return;
  const [to, text, n] = rest;
  for (let i = 0; i < Number(n); i++) await xmpp.send(xml("message", { to, type: "chat", id: `js-${i}` }, xml("body", {}, `${text}${i}`)));
  const pong = await xmpp.iqCaller.request(xml("iq", { type: "get", to: "localhost" }, xml("ping", "urn:xmpp:ping")), 30000);
  say({ pong: pong.attrs.type });
  await xmpp.stop();
  process.exit(0);
});
await xmpp.start().catch((e) => { say({ error: String(e) }); process.exit(1); });
