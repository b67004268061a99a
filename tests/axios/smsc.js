// An SMSC for tests, on a library that shares no code with the service (npm: smpp).
//
// Its first argument is JSON: how it behaves. It prints one JSON object a line: where it listens,
// then what happens. Each line of its input is a JSON object: behaviour to change, or one order.

import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import smpp from "smpp"

const behaviour = {
  system_id: "crier", password: "secret", latency: 0, most_binds: 1, bind_status: 0,
  drop_every: 0, refuse: {}, most_per_second: 0, receipts: false, silent: false, deaf: false, first_id: "",
  ...JSON.parse(process.argv[2] ?? "{}"),
}
const bound = new Set()
let known = 0, second = 0, inSecond = 0

const say = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n")

function bind(session, pdu) {
  let status = behaviour.bind_status
  if (pdu.system_id !== behaviour.system_id) status = smpp.ESME_RINVSYSID
  else if (pdu.password !== behaviour.password) status = smpp.ESME_RINVPASWD
  else if (bound.size >= behaviour.most_binds) status = smpp.ESME_RALYBND
  session.send(pdu.response({ command_status: status, system_id: "SMSC" }))
  if (status) return session.close()
  bound.add(session)
  say("bound", { system_type: pdu.system_type })
  if (behaviour.drop_every) setTimeout(() => session.destroy(), behaviour.drop_every)
}

function statusFor(pdu) {
  const now = Math.floor(Date.now() / 1000)
  if (now !== second) { second = now; inSecond = 0 }
  inSecond += 1
  if (behaviour.most_per_second && inSecond > behaviour.most_per_second) return smpp.ESME_RTHROTTLED
  return behaviour.refuse[pdu.destination_addr] ?? 0
}

function submit(session, pdu) {
  const status = statusFor(pdu), id = status ? "" : behaviour.first_id || String(++known)
  const { udh, message } = pdu.short_message
  say("submit", {
    id, status, to: pdu.destination_addr, text: message, udh: udh ? udh.map(each => each.toString("hex")) : null,
    from: [pdu.source_addr, pdu.source_addr_ton, pdu.source_addr_npi],
    destination: [pdu.dest_addr_ton, pdu.dest_addr_npi],
    esm_class: pdu.esm_class, data_coding: pdu.data_coding, receipt: pdu.registered_delivery,
  })
  if (behaviour.silent) return
  const answer = () => {
    session.send(pdu.response({ command_status: status, message_id: id }))
    if (!status && behaviour.receipts && pdu.registered_delivery) receipt(session, pdu.destination_addr, id)
  }
  behaviour.latency ? setTimeout(answer, behaviour.latency) : answer()
}

function receipt(session, from, id, stat = "DELIVRD", err = "000") {
  const text = `id:${id} sub:001 dlvrd:001 submit date:2611300000 done date:2611300001 stat:${stat} err:${err} text:Hi`
  deliver(session, { source_addr: from, destination_addr: "1", esm_class: 4, short_message: text })
}

function deliver(session, fields) {
  if (fields.octets) fields.short_message = Buffer.from(fields.octets, "hex")
  delete fields.octets
  session.deliver_sm(fields, pdu => say("confirmed", { status: pdu.command_status, text: fields.short_message.toString() }))
}

const tls = behaviour.certificate
  ? { key: readFileSync(behaviour.certificate), cert: readFileSync(behaviour.certificate) } : {}
const server = smpp.createServer(tls, session => {
  session.on("error", () => session.destroy())
  session.on("close", () => { if (bound.delete(session)) say("gone") })
  session.on("bind_transceiver", pdu => bind(session, pdu))
  session.on("submit_sm", pdu => submit(session, pdu))
  session.on("enquire_link", pdu => behaviour.deaf || session.send(pdu.response()))
  session.on("enquire_link_resp", () => say("alive"))
  session.on("generic_nack", pdu => say("nack", { status: pdu.command_status }))
  session.on("unbind", pdu => { say("unbound"); session.send(pdu.response()); session.close() })
})
server.listen(0, "127.0.0.1", () => say("listening", { port: server.address().port }))

const orders = {
  deliver: (session, fields) => deliver(session, fields),
  receipt: (session, { from, id, stat, err }) => receipt(session, from, id, stat, err),
  drop: session => session.destroy(),
  enquire: session => session.enquire_link(),
  unbind: session => session.unbind(() => session.close()),
  query: session => session.query_sm({ message_id: "1" }),
}
createInterface({ input: process.stdin }).on("line", line => {
  const { order, ...fields } = JSON.parse(line)
  if (!order) return Object.assign(behaviour, fields)
  for (const session of bound) orders[order](session, fields)
}).on("close", () => process.exit(0))
